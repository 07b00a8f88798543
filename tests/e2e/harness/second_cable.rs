//! A second way from the host's side of a lab to what is inside.

use std::{fs, net::IpAddr};

use super::{Lab, lab::ip};

impl Lab {
    /// Lays a second cable beside the first, which the host would not take by itself: the name of the host's
    /// interface, and its address.
    pub fn second_cable(&self) -> (String, IpAddr) {
        let (n, namespace) = (self.number, self.namespace());
        let (host, inside) = (format!("lab{n}x"), format!("lab{n}y"));
        self.on_host(&format!(
            "link add {host} type veth peer name {inside} netns {namespace}\n\
             addr add 10.79.{n}.1/24 dev {host}\n\
             link set {host} up\n"
        ));
        let lines = format!("addr add 10.79.{n}.2/24 dev {inside}\nlink set {inside} up\n");
        ip(Some(&namespace), &lines);
        // The road of a last resort for everybody, and the only one for who is bound to it.
        self.on_host(&format!(
            "route add 10.77.{n}.0/24 dev {host} src 10.79.{n}.1 metric 2000\n"
        ));
        // Answers come from an address that the first cable leads to as well.
        fs::write(format!("/proc/sys/net/ipv4/conf/{host}/rp_filter"), "2").unwrap();
        (host, IpAddr::from([10, 79, n, 1]))
    }

    /// Takes it away again.
    pub fn cut_second_cable(&self) {
        self.on_host(&format!("link del lab{}x\n", self.number));
    }
}

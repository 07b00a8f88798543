//! Upstreams of real software, inside a lab: each with an address of its own that origins see.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{
    Lab, origin,
    patience::{blocking, seconds},
};

/// What an upstream that wants a login takes. The file holds the second word.
pub const LOGIN: (&str, &str) = ("user-of-the-upstream", "s3cret-of-the-upstream");

/// A kind of upstream, and which software it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    Squid,
    SquidWithLogin,
    Tinyproxy,
    /// HAProxy that ends TLS before a Squid.
    SquidInTls,
    Microsocks,
    MicrosocksWithLogin,
}

impl Software {
    pub const ALL: [Self; 6] = [
        Self::Squid,
        Self::SquidWithLogin,
        Self::Tinyproxy,
        Self::SquidInTls,
        Self::Microsocks,
        Self::MicrosocksWithLogin,
    ];

    pub const fn wants_login(self) -> bool {
        matches!(self, Self::SquidWithLogin | Self::MicrosocksWithLogin)
    }

    /// The `kind` of a route by way of it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Squid | Self::SquidWithLogin | Self::Tinyproxy => "http",
            Self::SquidInTls => "https",
            Self::Microsocks | Self::MicrosocksWithLogin => "socks5",
        }
    }
}

/// One that runs; gone with its owner.
pub struct Upstream {
    pub software: Software,
    pub server: SocketAddr,
    processes: Vec<Child>,
    dir: PathBuf,
}

impl Upstream {
    /// Starts it on the lab's address that ends in `last` and waits until it answers.
    pub fn start(lab: &Lab, software: Software, last: u8) -> Self {
        let ip = lab.address_inside(last);
        let dir = lab.state_dir().join(format!("upstream-{last}"));
        fs::create_dir_all(&dir).unwrap();
        // Squid gives its privileges up before it opens its log.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let mut upstream = Self {
            software,
            server: SocketAddr::new(ip, 3128),
            processes: Vec::new(),
            dir,
        };
        match software {
            Software::Squid => upstream.squid(lab, ip, false),
            Software::SquidWithLogin => upstream.squid(lab, ip, true),
            Software::Tinyproxy => upstream.tinyproxy(lab, ip),
            Software::SquidInTls => {
                upstream.squid(lab, ip, false);
                upstream.haproxy(lab, ip);
            }
            Software::Microsocks | Software::MicrosocksWithLogin => upstream.microsocks(lab, ip),
        }
        upstream
    }

    pub fn ip(&self) -> IpAddr {
        self.server.ip()
    }

    /// The table of a route by way of it, with these lines more.
    pub fn route(&self, name: &str, more: &str) -> String {
        let login = if self.software.wants_login() {
            let file = self.dir.join("password");
            fs::write(&file, format!("{}\n", LOGIN.1)).unwrap();
            format!(
                "username = \"{}\"\npassword_file = \"{}\"\n",
                LOGIN.0,
                file.display()
            )
        } else {
            String::new()
        };
        let ca = if self.software.kind() == "https" {
            let file = self.dir.join("ca.pem");
            fs::write(&file, origin::authority_pem()).unwrap();
            format!("ca_file = \"{}\"\n", file.display())
        } else {
            String::new()
        };
        let (kind, server) = (self.software.kind(), self.server);
        format!(
            "[[route]]\nname = \"{name}\"\nkind = \"{kind}\"\nserver = \"{server}\"\n{login}{ca}{more}\n"
        )
    }

    /// Ends it, as if its machine had died.
    pub fn stop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
        self.processes.clear();
    }

    fn squid(&mut self, lab: &Lab, ip: IpAddr, with_login: bool) {
        let access = if with_login {
            let hash = Command::new("openssl")
                .args(["passwd", "-apr1", LOGIN.1])
                .output()
                .expect("openssl is installed");
            let hash = String::from_utf8(hash.stdout).unwrap();
            let users = self.dir.join("users");
            fs::write(&users, format!("{}:{hash}", LOGIN.0)).unwrap();
            format!(
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 auth_param basic children 2\n\
                 acl known proxy_auth REQUIRED\n\
                 http_access allow known\nhttp_access deny all\n",
                users.display()
            )
        } else {
            "http_access allow all\n".to_owned()
        };
        let log = self.dir.join("squid.log");
        let config = format!(
            "http_port {ip}:3128\ntcp_outgoing_address {ip}\n{access}\
             access_log none\ncache deny all\ncache_log {}\npid_filename none\n\
             visible_hostname upstream.test\nshutdown_lifetime 0 seconds\n\
             netdb_filename none\nmax_filedescriptors 4096\n",
            log.display()
        );
        let file = self.file("squid.conf", &config);
        self.run(lab, "squid", &["-N", "-f", &file]);
        self.answers(SocketAddr::new(ip, 3128));
    }

    fn tinyproxy(&mut self, lab: &Lab, ip: IpAddr) {
        let config = format!(
            "User nobody\nPort 3128\nListen {ip}\nBind {ip}\nTimeout 600\nMaxClients 500\n\
             LogLevel Critical\nDisableViaHeader Yes\n"
        );
        let file = self.file("tinyproxy.conf", &config);
        self.run(lab, "tinyproxy", &["-d", "-c", &file]);
        self.answers(self.server);
    }

    fn microsocks(&mut self, lab: &Lab, ip: IpAddr) {
        let ip = ip.to_string();
        let mut words = vec!["-i", &ip, "-p", "3128", "-b", &ip];
        if self.software.wants_login() {
            words.extend(["-u", LOGIN.0, "-P", LOGIN.1]);
        }
        self.run(lab, "microsocks", &words);
        self.answers(self.server);
    }

    fn haproxy(&mut self, lab: &Lab, ip: IpAddr) {
        let pem = self.file("leaf.pem", &origin::leaf_pem(ip));
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n\
             frontend outside\n  bind {ip}:8443 ssl crt {pem}\n  default_backend squid\n\
             backend squid\n  server one {ip}:3128\n"
        );
        let file = self.file("haproxy.cfg", &config);
        self.run(lab, "haproxy", &["-db", "-f", &file]);
        self.server = SocketAddr::new(ip, 8443);
        self.answers(self.server);
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        path.display().to_string()
    }

    fn run(&mut self, lab: &Lab, program: &str, words: &[&str]) {
        let log = File::create(self.dir.join(format!("{program}.out"))).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.namespace(), program])
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("iproute2 is installed");
        self.processes.push(child);
    }

    fn answers(&mut self, server: SocketAddr) {
        let last = self.processes.last_mut().unwrap();
        let up = blocking(seconds(20), || {
            TcpStream::connect(server).is_ok() || last.try_wait().unwrap().is_some()
        });
        let runs = last.try_wait().unwrap().is_none();
        assert!(
            up && runs,
            "{:?} does not run (`tests/setup` installs it); its words are in {}",
            self.software,
            self.dir.display()
        );
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

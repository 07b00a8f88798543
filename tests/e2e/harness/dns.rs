//! A name server that knows a handful of names and counts what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use chaser::runtime::Tasks;
use parking_lot::Mutex;

use super::Lab;

const A: u16 = 1;
const AAAA: u16 = 28;

#[derive(Clone)]
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, IpAddr)>>>,
}

impl Dns {
    /// Serves on the origin's address, port 53.
    pub fn start(lab: &Lab, names: &[(&str, &[IpAddr])], tasks: &Tasks) -> Self {
        Self::at(lab, lab.origin_ip(), names, tasks)
    }

    /// The same on another address inside.
    pub fn at(lab: &Lab, ip: IpAddr, names: &[(&str, &[IpAddr])], tasks: &Tasks) -> Self {
        let address = SocketAddr::new(ip, 53);
        let names: BTreeMap<String, Vec<IpAddr>> = names
            .iter()
            .map(|(name, ips)| ((*name).to_owned(), ips.to_vec()))
            .collect();
        let dns = Self {
            address,
            asked: Arc::default(),
        };
        let (socket, asked) = (lab.listen_udp(address), Arc::clone(&dns.asked));
        tasks.spawn("dns", |_stop| async move {
            let mut packet = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut packet).await {
                let Some((name, kind, end)) = question(&packet[..len]) else {
                    continue;
                };
                asked.lock().push((name.clone(), peer.ip()));
                let reply = answer(&packet[..end], names.get(&name), kind);
                // A resolver that left will not miss it.
                drop(socket.send_to(&reply, peer).await);
            }
        });
        dns
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every name that was asked for.
    pub fn questions(&self) -> Vec<String> {
        let asked = self.asked.lock();
        asked.iter().map(|(name, _asker)| name.clone()).collect()
    }

    /// Everybody who asked.
    pub fn askers(&self) -> BTreeSet<IpAddr> {
        let asked = self.asked.lock();
        asked.iter().map(|(_name, asker)| *asker).collect()
    }
}

/// Name, type and where the question ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*packet.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

/// The question with its answers; an unknown name does not exist.
fn answer(question: &[u8], ips: Option<&Vec<IpAddr>>, kind: u16) -> Vec<u8> {
    let records: Vec<Vec<u8>> = ips
        .into_iter()
        .flatten()
        .filter_map(|ip| match (ip, kind) {
            (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
            (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
        })
        .collect();
    let mut reply = question.to_vec();
    let status = if ips.is_some() { 0x80 } else { 0x83 };
    reply[2..4].copy_from_slice(&[0x85, status]);
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    reply[4..6].copy_from_slice(&[0, 1]);
    reply[6..8].copy_from_slice(&count);
    reply[8..12].copy_from_slice(&[0; 4]);
    for data in records {
        // A pointer to the name of the question, the class IN, a minute to live.
        reply.extend([0xC0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        reply.extend(data);
    }
    reply
}

#[tokio::test]
async fn names_resolve_to_what_the_test_says() {
    use hickory_resolver::{
        Resolver,
        config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
        net::runtime::TokioRuntimeProvider,
    };
    let (lab, tasks) = (Lab::new(), Tasks::default());
    let dns = Dns::start(
        &lab,
        &[("both.test", &[lab.origin_ip(), lab.ipv6()])],
        &tasks,
    );
    let server = NameServerConfig::new(dns.address().ip(), true, vec![ConnectionConfig::udp()]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut options = ResolverOpts::default();
    options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
    let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .unwrap();
    let found: Vec<_> = resolver
        .lookup_ip("both.test.")
        .await
        .unwrap()
        .iter()
        .collect();
    assert!(
        found.contains(&lab.origin_ip()) && found.contains(&lab.ipv6()),
        "{found:?}"
    );
    assert!(dns.questions().contains(&"both.test".to_owned()));
    resolver.lookup_ip("nobody.test.").await.unwrap_err();
}

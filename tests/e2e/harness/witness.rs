//! The kernel's own count of what crossed the cable between a session's address and the lab: no byte of it
//! goes through anything of ours, the test's origin included.
//!
//! nftables counts packets and bytes with their headers. A rule for each length of a TCP header makes
//! payload of that: what is counted there, less as many headers. Counted on the origin's side, where a
//! packet has come to its end or is yet whole; what the kernel sends again it counts again.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{Bytes, Lab, lab::within};

/// Counts from its making on.
pub struct Witness {
    namespace: String,
    family: IpAddr,
}

/// Lengths of a TCP header in words of four bytes.
const WORDS: std::ops::RangeInclusive<u64> = 5..=15;

impl Witness {
    /// Of everything between `peer` and whoever listens in the lab.
    pub fn of(lab: &Lab, peer: IpAddr) -> Self {
        let ip = if peer.is_ipv4() { "ip" } else { "ip6" };
        let mut rules = String::from("table inet witness {\n");
        for (chain, hook, side) in [("up", "input", "saddr"), ("down", "output", "daddr")] {
            writeln!(
                rules,
                "chain {chain} {{\ntype filter hook {hook} priority 0"
            )
            .unwrap();
            for words in WORDS {
                writeln!(rules, "{ip} {side} {peer} tcp doff {words} counter").unwrap();
            }
            rules.push_str("}\n");
        }
        rules.push_str("}\n");
        let witness = Self {
            namespace: lab.namespace(),
            family: peer,
        };
        witness.nft(&["-f", "-"], &rules);
        witness
    }

    /// Payload so far: up is what came from the peer.
    pub fn payload(&self) -> Bytes {
        let listed = self.nft(&["-j", "list", "table", "inet", "witness"], "");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let mut bytes = Bytes::default();
        let rules = listed["nftables"].as_array().unwrap();
        for rule in rules
            .iter()
            .map(|one| &one["rule"])
            .filter(|rule| rule.is_object())
        {
            let parts = rule["expr"].as_array().unwrap();
            let words = parts
                .iter()
                .find(|part| part["match"]["left"]["payload"]["field"] == "doff")
                .and_then(|part| part["match"]["right"].as_u64())
                .unwrap();
            let counter = parts.iter().find_map(|part| part.get("counter")).unwrap();
            let count = |field: &str| counter[field].as_u64().unwrap();
            let before = if self.family.is_ipv4() { 20 } else { 40 };
            let payload = count("bytes") - count("packets") * (before + 4 * words);
            match rule["chain"].as_str().unwrap() {
                "up" => bytes.up += payload,
                _ => bytes.down += payload,
            }
        }
        bytes
    }

    /// Segments that the kernel has sent again, here and on the host: what crossed more than once.
    pub fn resent(&self) -> u64 {
        let here = within(&self.namespace, resent);
        here + resent()
    }

    fn nft(&self, words: &[&str], input: &str) -> String {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "nft"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("iproute2 is installed");
        let mut stdin = nft.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = nft.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "nft refused (`tests/setup` installs it):\n{input}"
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// `Tcp: RetransSegs` of the namespace of this thread.
fn resent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names
        .split(' ')
        .position(|name| name == "RetransSegs")
        .unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

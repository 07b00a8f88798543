//! Who connects: how many connections each source has, and how often it guessed wrong.
//!
//! A session's id cannot be guessed, and a token neither; whoever tries all the same is stopped early and
//! costs little. A source is an address, or for IPv6 its /64: what one customer is given. Wrong guesses (an id
//! that is not known, a token that is wrong) are counted; a source with too many is refused whatever it asks
//! until its minute is over. Clients that are attached go on.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// In which wrong guesses are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Sources that are remembered at once. Beyond that only those with a connection are, of which the
/// gateway has a limit: a flood of addresses takes no memory.
const REMEMBERED: usize = 16_384;

/// What is known of all sources. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<IpAddr, Source>>>);

#[derive(Debug)]
struct Source {
    connections: u32,
    wrong: u32,
    since: Instant,
}

/// A connection of a source; given back when dropped.
#[derive(Debug)]
pub(super) struct Guest {
    of: IpAddr,
    sources: Sources,
}

impl Sources {
    /// A place for one more connection of `peer`, of which it may have `most`; 0 is any number.
    pub(super) fn enter(&self, peer: IpAddr, most: u32) -> Option<Guest> {
        let of = source(peer);
        let mut all = self.0.lock();
        if all.len() >= REMEMBERED && !all.contains_key(&of) {
            let now = Instant::now();
            all.retain(|_, known| known.connections > 0 || known.is_fresh(now));
        }
        if all.len() >= REMEMBERED {
            // All of them within a minute: wrong guesses are forgotten before memory is.
            all.retain(|_, known| known.connections > 0);
        }
        let known = all.entry(of).or_insert_with(|| Source {
            connections: 0,
            wrong: 0,
            since: Instant::now(),
        });
        if most != 0 && known.connections >= most {
            return None;
        }
        known.connections += 1;
        drop(all);
        Some(Guest {
            of,
            sources: self.clone(),
        })
    }
}

impl Source {
    fn is_fresh(&self, now: Instant) -> bool {
        self.wrong > 0 && now.saturating_duration_since(self.since) < WINDOW
    }
}

impl Guest {
    /// How long the source must wait before it may guess again; `None` while it may. `most` wrong
    /// guesses a minute are borne; 0 is any number.
    pub(super) fn rests(&self, most: u32) -> Option<Duration> {
        let now = Instant::now();
        let mut all = self.sources.0.lock();
        let known = all.get_mut(&self.of)?;
        if !known.is_fresh(now) {
            known.wrong = 0;
            return None;
        }
        let passed = now.saturating_duration_since(known.since);
        (most != 0 && known.wrong >= most).then(|| WINDOW.saturating_sub(passed))
    }

    /// It guessed wrong.
    pub(super) fn guessed_wrong(&self) {
        let now = Instant::now();
        if let Some(known) = self.sources.0.lock().get_mut(&self.of) {
            if known.wrong == 0 {
                known.since = now;
            }
            known.wrong = known.wrong.saturating_add(1);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.sources.0.lock();
        if let Some(known) = all.get_mut(&self.of) {
            known.connections = known.connections.saturating_sub(1);
            if known.connections == 0 && known.wrong == 0 {
                all.remove(&self.of);
            }
        }
    }
}

fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let bits = ip.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_guesses_are_rationed_and_a_minute_heals() {
        let sources = Sources::default();
        let enter = |of| sources.enter(peer(of), 0).unwrap();
        let guest = enter("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(guest.rests(3), None);
            guest.guessed_wrong();
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        // On whichever connection, but on nobody else's.
        drop(guest);
        let again = enter("::ffff:192.0.2.1");
        assert_eq!(again.rests(3), Some(Duration::from_secs(40)));
        assert_eq!(again.rests(0), None);
        assert_eq!(enter("192.0.2.2").rests(3), None);
        tokio::time::advance(Duration::from_secs(41)).await;
        assert_eq!(again.rests(3), None);
    }

    #[tokio::test]
    async fn a_source_has_so_many_connections_and_gives_them_back() {
        let sources = Sources::default();
        let enter = |of| sources.enter(peer(of), 2);
        let one = enter("2001:db8::1").unwrap();
        let _two = enter("2001:db8::ffff").unwrap();
        assert!(enter("2001:db8::2").is_none(), "one /64 is one source");
        let _other = enter("2001:db8:0:1::1").unwrap();
        drop(one);
        assert!(enter("2001:db8::2").is_some());
    }

    #[tokio::test]
    async fn a_flood_of_sources_takes_no_memory() {
        let sources = Sources::default();
        let held = sources.enter(peer("192.0.2.1"), 0).unwrap();
        held.guessed_wrong();
        for number in 0..2 * u32::try_from(REMEMBERED).unwrap() {
            let guest = sources.enter(IpAddr::from(number.to_be_bytes()), 0);
            guest.unwrap().guessed_wrong();
        }
        assert!(sources.0.lock().len() <= REMEMBERED);
        assert!(held.rests(1).is_some(), "who is here is known");
    }
}

//! What a session may take, and what it has: its [`Limits`] at work.
//!
//! Bytes are rationed where they are metered, beneath TLS: a read or a write is made no larger than what
//! is allowed, under a lock that is held for that one system call, so that a quota is kept to the byte
//! however many connections there are. A session without limits has no ration and pays nothing; one with
//! them moves its bytes by copying, because bulk is moved by the kernel without being asked.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tracing::info;

use super::{
    bucket::Bucket,
    refusal::{Reason, Refusal},
};
use crate::{
    model::{InstanceId, Limits},
    relay::meter::Meter,
};

/// How much of a second may come at once.
const BURST: u64 = 4;
/// Who waits waits for so many bytes at least.
const LEAST: u64 = 1024;

/// The limits of one session at work.
#[derive(Debug)]
pub(super) struct Ration {
    instance: InstanceId,
    limits: Limits,
    /// Held for one system call: what is allowed and what is counted must not come apart.
    pace: Mutex<Speed>,
    /// Held for a comparison.
    requests: Mutex<Option<Bucket>>,
    open: AtomicU32,
    /// Turns true with the last byte of the quota.
    spent: watch::Sender<bool>,
}

/// How fast bytes may move.
#[derive(Debug)]
struct Speed {
    /// At any time.
    always: Option<Bucket>,
    /// Once the session is throttled, as well.
    throttle: Option<Bucket>,
    /// Whether that was said.
    said: bool,
}

/// One connection's place in a ration; gone with it.
#[derive(Debug)]
pub(super) struct Share(Arc<Ration>);

/// What came of an attempt to move bytes.
#[derive(Debug)]
pub(super) enum Spent {
    /// It was made.
    Moved(Poll<io::Result<usize>>),
    /// Nothing is allowed for this long.
    Later(Duration),
    /// Nothing is allowed any more.
    Over,
}

impl Ration {
    /// `None` where nothing is limited.
    pub(super) fn new(
        instance: InstanceId,
        limits: Limits,
        spent: watch::Sender<bool>,
    ) -> Option<Arc<Self>> {
        let bucket = |amount: u64, per: u64, burst: u64| {
            let per = Duration::from_secs(per);
            (amount > 0).then(|| Bucket::new(amount, per, burst, Instant::now()))
        };
        let requests = u64::from(limits.requests_per_minute);
        let pace = |rate: u64| bucket(rate, 1, rate / BURST);
        limits.limit().then(|| {
            Arc::new(Self {
                instance,
                pace: Mutex::new(Speed {
                    always: pace(limits.bytes_per_second),
                    throttle: pace(limits.throttle_bytes_per_second),
                    said: false,
                }),
                requests: Mutex::new(bucket(requests, 60, requests)),
                open: AtomicU32::new(0),
                limits,
                spent,
            })
        })
    }

    /// A place for one more connection.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Share, Refusal> {
        let most = match self.limits.connections {
            0 => u32::MAX,
            most => most,
        };
        let more = |open: u32| (open < most).then_some(open + 1);
        let entered = self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        entered.map_err(|_full| {
            Refusal::new(
                Reason::ConnectionLimit,
                "as many connections as it may have",
            )
        })?;
        Ok(Share(Arc::clone(self)))
    }

    /// One more request.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        let mut requests = self.requests.lock();
        let Some(bucket) = &mut *requests else {
            return Ok(());
        };
        if bucket.available(Instant::now()) == 0 {
            let detail = "as many requests as it may make in a minute";
            return Err(Refusal::new(Reason::RequestLimit, detail));
        }
        bucket.take(1);
        Ok(())
    }

    /// Says so where `meter` has all that the quota allows.
    pub(super) fn settle(&self, meter: &Meter) {
        if self.left(meter) == 0 {
            self.spent.send_replace(true);
        }
    }

    fn left(&self, meter: &Meter) -> u64 {
        until(self.limits.quota_bytes, meter)
    }
}

impl Share {
    /// Moves at most what is allowed of `wish` bytes by `work`, and has `count` count them.
    pub(super) fn spend(
        &self,
        meter: &Meter,
        wish: usize,
        count: impl FnOnce(u64),
        work: impl FnOnce(usize) -> Poll<io::Result<usize>>,
    ) -> Spent {
        let mut pace = self.0.pace.lock();
        let left = self.0.left(meter);
        if left == 0 {
            self.0.spent.send_replace(true);
            return Spent::Over;
        }
        let unthrottled = until(self.0.limits.throttle_after_bytes, meter);
        if unthrottled == 0 && !pace.said {
            pace.said = true;
            info!(instance = %self.0.instance, "throttled from now on");
        }
        let paced = match pace.available(unthrottled == 0) {
            0 => return Spent::Later(pace.wait(LEAST.min(left), unthrottled == 0)),
            paced => paced,
        };
        let most = match unthrottled {
            0 => left.min(paced),
            more => left.min(paced).min(more),
        };
        let most = usize::try_from(most).map_or(wish, |most| most.min(wish));
        let moved = work(most);
        if let Poll::Ready(Ok(moved)) = &moved {
            let moved = *moved as u64;
            count(moved);
            pace.take(moved, unthrottled == 0);
            self.0.settle(meter);
        }
        Spent::Moved(moved)
    }
}

/// How many bytes are left until `meter` has so many; 0 is no limit.
fn until(limit: u64, meter: &Meter) -> u64 {
    if limit == 0 {
        return u64::MAX;
    }
    let so_far = meter.traffic();
    limit.saturating_sub(so_far.up.saturating_add(so_far.down))
}

impl Speed {
    fn buckets(&mut self, throttled: bool) -> impl Iterator<Item = &mut Bucket> {
        let throttle = self.throttle.as_mut().filter(|_| throttled);
        self.always.as_mut().into_iter().chain(throttle)
    }

    fn available(&mut self, throttled: bool) -> u64 {
        let now = Instant::now();
        let each = self.buckets(throttled).map(|bucket| bucket.available(now));
        each.min().unwrap_or(u64::MAX)
    }

    /// How long until `count` may move.
    fn wait(&mut self, count: u64, throttled: bool) -> Duration {
        let each = self.buckets(throttled).map(|bucket| bucket.wait(count));
        each.max().unwrap_or_default()
    }

    fn take(&mut self, count: u64, throttled: bool) {
        self.buckets(throttled)
            .for_each(|bucket| bucket.take(count));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ration(limits: Limits) -> (Arc<Ration>, watch::Receiver<bool>) {
        let (spent, seen) = watch::channel(false);
        let instance = InstanceId::random();
        (Ration::new(instance, limits, spent).unwrap(), seen)
    }

    proptest! {
        #[test]
        fn a_quota_is_kept_to_the_byte_and_said_with_its_last(
            quota_bytes in 1_u64..10_000,
            moves in prop::collection::vec((1_usize..3_000, any::<bool>(), 0_usize..3_000), 1..40),
        ) {
            let (ration, spent) = ration(Limits { quota_bytes, ..Limits::default() });
            let (meter, share) = (Meter::detached(), ration.enter().unwrap());
            for (wish, up, ready) in moves {
                let count = |moved| if up { meter.add_up(moved) } else { meter.add_down(moved) };
                let work = |most: usize| Poll::Ready(Ok(ready.min(most)));
                let before = meter.traffic().up + meter.traffic().down;
                let outcome = share.spend(&meter, wish, count, work);
                let after = meter.traffic().up + meter.traffic().down;
                prop_assert!(after <= quota_bytes);
                prop_assert_eq!(*spent.borrow(), after == quota_bytes);
                match outcome {
                    Spent::Over => prop_assert_eq!(before, quota_bytes),
                    Spent::Moved(moved) => {
                        let Poll::Ready(Ok(moved)) = moved else { unreachable!() };
                        prop_assert_eq!(after - before, moved as u64);
                        let could = (quota_bytes - before).min(wish.min(ready) as u64);
                        prop_assert_eq!(moved as u64, could);
                    }
                    Spent::Later(_) => prop_assert!(false, "there is no pace"),
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_begins_with_its_byte_and_holds_its_pace() {
        let (ration, spent) = ration(Limits {
            throttle_after_bytes: 1_000_000,
            throttle_bytes_per_second: 4_000,
            quota_bytes: 1_020_000,
            ..Limits::default()
        });
        let (meter, share) = (Meter::detached(), ration.enter().unwrap());
        let go = |wish: usize| {
            share.spend(
                &meter,
                wish,
                |moved| meter.add_down(moved),
                |most| Poll::Ready(Ok(most)),
            )
        };
        let Spent::Moved(Poll::Ready(Ok(first))) = go(5_000_000) else {
            unreachable!()
        };
        assert_eq!(
            first, 1_000_000,
            "as fast as it can until then, and no further"
        );
        let began = Instant::now();
        let mut slow = 0;
        loop {
            match go(5_000_000) {
                Spent::Moved(Poll::Ready(Ok(moved))) => slow += moved as u64,
                Spent::Later(wait) => tokio::time::advance(wait).await,
                Spent::Over => break,
                Spent::Moved(other) => unreachable!("{other:?}"),
            }
            let most = 1_000 + 4_000 * began.elapsed().as_nanos() / 1_000_000_000;
            assert!(u128::from(slow) <= most, "{slow} of {most}");
        }
        assert_eq!(
            slow, 20_000,
            "and the quota is kept to the byte all the same"
        );
        assert!(*spent.borrow() && began.elapsed() >= Duration::from_millis(4_750));
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "no slower than told"
        );
    }

    #[test]
    fn connections_have_places_and_give_them_back() {
        let (ration, _) = ration(Limits {
            connections: 2,
            ..Limits::default()
        });
        let (one, _two) = (ration.enter().unwrap(), ration.enter().unwrap());
        assert_eq!(ration.enter().unwrap_err().reason, Reason::ConnectionLimit);
        drop(one);
        let _three = ration.enter().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_a_minutes_are_refused_until_there_are_more() {
        let (ration, _) = ration(Limits {
            requests_per_minute: 30,
            ..Limits::default()
        });
        let admitted = (0..40).filter(|_| ration.admit().is_ok()).count();
        assert_eq!(admitted, 30);
        tokio::time::advance(Duration::from_secs(2)).await;
        ration.admit().unwrap();
        assert_eq!(ration.admit().unwrap_err().reason, Reason::RequestLimit);
    }

    #[test]
    fn who_has_no_limits_has_no_ration() {
        let spent = watch::channel(false).0;
        assert!(Ration::new(InstanceId::random(), Limits::default(), spent).is_none());
    }
}

//! Waiting, always with a bound and always with a sentence about what was waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long an asking may take that began in time.
const LAST_ASKED: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match timeout_at(deadline + LAST_ASKED, ask()).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => assert!(Instant::now() < deadline, "{what}: not within {within:?}"),
            Err(_late) => panic!("{what}: asked, and no answer came"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The same for yes-or-no questions where nothing else may run: in `Drop`.
pub fn blocking(within: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !ask() {
        if Instant::now() >= deadline {
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "Drop cannot await")]
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

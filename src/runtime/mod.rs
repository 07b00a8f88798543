//! What every role runs on: named tasks with a common stop, clocks, telemetry.

mod clock;
mod failpoint;
mod lanes;
mod pidfd;
mod tasks;

pub use clock::{boot_id, boot_now, wall_now};
pub use failpoint::failpoint;
pub use lanes::Lanes;
pub use pidfd::Death;
pub use tasks::{Stuck, Tasks};

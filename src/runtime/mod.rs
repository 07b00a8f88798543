//! What every role runs on: named tasks with a common stop, clocks, what systemd is told.

mod clock;
mod cores;
mod descriptors;
pub mod failpoint;
mod lanes;
mod pidfd;
mod read;
mod steps;
pub mod systemd;
mod tasks;

pub use clock::{boot_id, boot_now, wall_now};
pub use cores::cores;
pub use descriptors::DescriptorStore;
pub use failpoint::failpoint;
pub use lanes::Lanes;
pub use pidfd::Death;
pub use read::read_some;
pub use steps::{BOUNDS, Step, StepTimes, Steps};
pub use tasks::{Stuck, Tasks};

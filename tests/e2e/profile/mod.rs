//! A session is one coherent phone: on every target, from the first byte, whatever drives it.
//!
//! ```text
//!   site: pages and workers that probe themselves (probe.js) ─▶ report to the origin
//!   driver: one of three libraries, or CDP alone ─▶ tour: every kind of target
//!   want: the profile's data as signals ─▶ verdict: every cell compared, a table on failure
//! ```

mod brands;
mod deviations;
mod devices;
mod driver;
mod early;
mod many;
mod matrix;
mod site;
mod touch;
mod tour;
mod traces;
mod verdict;
mod want;

//! What the tests stand on.
//!
//! A [`Lab`] is a network of the test's own, with an [`Origin`] and perhaps a [`Dns`] in it. A
//! [`Chaser`] is the real binary. [`Api`] and [`Node`] order sessions, [`Library`] and [`Cdp`]
//! drive them. Nothing here knows how the program works inside.

mod agent;
mod cdp;
mod chaser;
mod connections;
mod device;
mod dns;
pub mod docker;
mod docker_door;
mod inside;
mod kernel;
mod lab;
mod leftovers;
mod library;
mod machine;
mod node;
mod origin;
mod overdue;
mod own_docker;
mod patience;
mod pki;
mod plain;
pub mod processes;
mod receiver;
mod rest;
mod second_cable;
mod small_disk;
mod trap;
pub mod trusting;
mod turn;
mod upstream;
mod wall_clock;
mod wire;
mod witness;

use ::chaser::runtime::Tasks;

pub use agent::Agent;
pub use cdp::Cdp;
pub use chaser::{Chaser, Setup};
pub use connections::ToDevTools;
pub use device::{
    Bridge, Device, GREETING, dial, require_behind_tap as android_tap,
    require_guest as android_guest, require_image as android_like,
};
pub use dns::Dns;
pub use docker_door::{DockerDoor, Door};
pub use inside::inside;
pub use kernel::Kernel;
pub use lab::Lab;
pub use leftovers::Footprint;
pub use library::{Client, Library};
pub use machine::Machine;
pub use node::{Node, session_id, spec};
pub use origin::{Bytes, Origin, Page, Seen, acceptor, authority_pem};
pub use own_docker::OwnDocker;
pub use patience::{eventually, seconds};
pub use pki::Pki;
pub use plain::Plain;
pub use receiver::{Got, Receiver, Reply};
pub use rest::{Answer, Api, Session};
pub use small_disk::SmallDisk;
pub use trap::Trap;
pub use turn::{TURN_LOGIN, Turn};
pub use upstream::{LOGIN, Software, Upstream};
pub use wall_clock::WallClock;
pub use wire::{Kind, Packet, Wire};
pub use witness::Witness;

/// A lab with its origin: where nearly every test begins.
pub fn lab() -> (Lab, Origin) {
    let lab = Lab::new();
    let origin = Origin::start(&lab, &Tasks::default());
    (lab, origin)
}

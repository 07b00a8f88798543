//! The Docker Engine API; the only module that names bollard.

mod spec;

pub use spec::ContainerSpec;

//! The Docker Engine API; the only module that names bollard.

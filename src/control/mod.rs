//! The control plane behind `api::rest`: workspaces, keys, limits, session records, usage.

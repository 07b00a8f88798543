//! Roles: configuration, build in order, serve, stop in reverse.

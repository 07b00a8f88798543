//! The Chrome DevTools Protocol: messages, one client connection, the profile's overrides.

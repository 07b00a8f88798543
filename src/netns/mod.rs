//! Entering a container's network namespace; the only module that calls `setns`.

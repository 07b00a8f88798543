//! What the host can do and how it feels: probes for `doctor` and `GetNode`.

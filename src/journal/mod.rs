//! What the node must not forget; the only module that names the node's SQLite.

//! The egress proxy's parsers of HTTP and SOCKS5 under libFuzzer: coverage-guided, on the stable compiler.
//!
//! `make fuzz MINUTES=n` builds each target with the compiler's own coverage instrumentation and runs them
//! for `n` minutes in all. What is compiled are the very files of `src/relay/egress`, which need nothing of
//! the rest. There is no address sanitizer: that takes a nightly compiler, and these files have no `unsafe`
//! that it could find something in.
//!
//! A find is an input on which a parser panics, or on which one of the promises in `egress/promises.rs` does not
//! hold; libFuzzer writes it to `tests/fuzz/found/` and the run fails. It belongs into the tests of the parser then.

mod egress {
    #![expect(
        dead_code,
        unreachable_pub,
        reason = "the program's files, of which a part is used here"
    )]

    #[path = "../../../../src/relay/egress/authority.rs"]
    mod authority;
    #[path = "../../../../src/relay/egress/chunked.rs"]
    mod chunked;
    #[path = "../../../../src/relay/egress/fields.rs"]
    mod fields;
    #[path = "../../../../src/relay/egress/framing.rs"]
    mod framing;
    #[path = "../../../../src/relay/egress/head.rs"]
    mod head;
    #[path = "../../../../src/relay/egress/refusal.rs"]
    mod refusal;
    #[path = "../../../../src/relay/egress/socks_words.rs"]
    mod socks_words;

    pub mod promises;
}

pub use egress::promises;

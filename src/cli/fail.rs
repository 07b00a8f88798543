//! Failures of a command: one sentence, one exit code.

use std::process::ExitCode;

use crate::{daemon::config::ConfigError, model::Class, relay::server};

/// The configuration is wrong.
pub(super) const CONFIG: u8 = 64;
/// Something that is needed cannot be reached.
pub(super) const UNAVAILABLE: u8 = 69;
/// A bug, or a broken host.
pub(super) const INTERNAL: u8 = 70;
/// Done, and the answer is no.
pub(super) const FAILED: u8 = 1;

/// A sentence that a tired operator can act on, and the exit code that goes with it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct Fail {
    pub(super) exit: u8,
    pub(super) sentence: String,
}

/// A failure in one line.
pub(super) fn fail(exit: u8, sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Fail {
        exit,
        sentence: sentence.into(),
    })
}

/// The exit code of a class of error.
pub(super) const fn exit_of(class: Class) -> u8 {
    match class {
        Class::Invalid => CONFIG,
        Class::Unavailable => UNAVAILABLE,
        Class::Internal => INTERNAL,
        Class::Unauthorised | Class::NotFound | Class::Conflict | Class::Exhausted => FAILED,
    }
}

/// An error and all that caused it, as one sentence.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        source = cause.source();
    }
    said
}

/// A refused configuration.
pub(super) fn config(error: ConfigError) -> anyhow::Error {
    fail(CONFIG, sentence(&error))
}

/// A relay that cannot run.
#[expect(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
pub(super) fn relay(error: server::Failed) -> anyhow::Error {
    let exit = match &error {
        server::Failed::RuntimeDir { .. }
        | server::Failed::Listen { .. }
        | server::Failed::User { .. } => CONFIG,
        server::Failed::Running => FAILED,
        server::Failed::Io(_) => INTERNAL,
    };
    fail(exit, sentence(&error))
}

/// Says what went wrong and gives the exit code for it.
#[expect(clippy::print_stderr, reason = "a command's last word")]
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let exit = error
        .downcast_ref::<Fail>()
        .map_or(INTERNAL, |fail| fail.exit);
    eprintln!("chaser: {}", sentence(error.as_ref()));
    ExitCode::from(exit)
}

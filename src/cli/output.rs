//! What every command prints with: results on stdout, for a person or for a program.

use std::{
    fmt::Display,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Text, as it is. A reader that has gone, as in `chaser session list | head`, is no failure.
pub(super) fn print(text: impl Display) {
    let mut out = io::stdout().lock();
    drop(write!(out, "{text}").and_then(|()| out.flush()));
}

/// One line.
pub(super) fn line(text: impl Display) {
    print(format_args!("{text}\n"));
}

/// One JSON document, indented.
///
/// # Errors
/// Only what serde says.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `1.2 MB`, decimal as bills are.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut scaled = count;
    let mut unit = UNITS[0];
    for (index, name) in UNITS.iter().enumerate() {
        unit = name;
        if scaled < 1_000_000 || index + 1 == UNITS.len() {
            break;
        }
        scaled /= 1_000;
    }
    format!("{}.{} {unit}", scaled / 1_000, scaled % 1_000 / 100)
}

/// `3m12s`, as long ago or as far ahead.
pub(super) fn span(of: Duration) -> String {
    let secs = of.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// How long ago an RFC 3339 moment was; empty for what is no moment.
pub(super) fn age(moment: &str) -> String {
    OffsetDateTime::parse(moment, &Rfc3339)
        .ok()
        .and_then(|at| Duration::try_from(OffsetDateTime::now_utc() - at).ok())
        .map_or_else(String::new, span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_well() {
        for (count, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (22_500, "22.5 kB"),
            (50_000_000, "50.0 MB"),
            (1_234_567_890, "1.2 GB"),
        ] {
            assert_eq!(bytes(count), said);
        }
        for (secs, said) in [
            (9, "9s"),
            (61, "1m01s"),
            (7_260, "2h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(span(Duration::from_secs(secs)), said);
        }
    }
}

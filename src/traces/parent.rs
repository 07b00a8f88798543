//! `traceparent` and `tracestate`, as W3C's Trace Context has them. What is malformed is ignored, as is what came
//! twice: whoever sent it gets a trace of our own.

use std::str::FromStr;

use hyper::{HeaderMap, header::HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::Trace;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// What has to be passed on at least; longer ones are left out.
const MAX_STATE: usize = 512;
/// `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

impl Trace {
    /// What these headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(PARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return Self::none();
        };
        let mut states = headers.get_all(STATE).iter();
        let state = match (states.next(), states.next()) {
            (Some(state), None) => state.to_str().unwrap_or(""),
            _ => "",
        };
        Self(parent.to_str().ok().and_then(|parent| read(parent, state)))
    }

    /// Says it in these headers, where there is anything to say.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Some(of) = &self.0 else { return };
        let flags = of.trace_flags() & TraceFlags::SAMPLED;
        let parent = format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id());
        let state = of.trace_state().header();
        for (name, value) in [(PARENT, parent), (STATE, state)] {
            if let Some(value) = HeaderValue::try_from(value).ok().filter(|v| !v.is_empty()) {
                headers.insert(name, value);
            }
        }
    }
}

fn read(parent: &str, state: &str) -> Option<SpanContext> {
    // A later version may say more after what ours says; `ff` is none.
    let (ours, rest) = parent.split_at_checked(LENGTH)?;
    let mut fields = ours.split('-');
    let mut field = |length: usize| fields.next().and_then(|text| hex(text, length));
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let whole = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let state = Some(state).filter(|state| state.len() <= MAX_STATE);
    let state = state.and_then(|state| TraceState::from_str(state).ok());
    let of = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(u64::try_from(span).ok()?),
        TraceFlags::new(u8::try_from(flags).ok()?) & TraceFlags::SAMPLED,
        true,
        state.unwrap_or_default(),
    );
    (whole && of.is_valid()).then_some(of)
}

/// So many digits, small ones.
fn hex(text: &str, length: usize) -> Option<u128> {
    let digits = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits && text.len() == length)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn told(of: &[(&'static str, &str)]) -> Option<(String, String)> {
        let mut said = HeaderMap::new();
        Trace::of(&headers(of)).write(&mut said);
        let text = |name| {
            let value = said.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or("").to_owned()
        };
        said.contains_key(PARENT)
            .then(|| (text(PARENT), text(STATE)))
    }

    #[test]
    fn a_parent_is_passed_on_as_it_came_and_nothing_else_is_one() {
        let whole = Some((WHOLE.to_owned(), String::new()));
        assert_eq!(told(&[(PARENT, WHOLE)]), whole);
        let later = WHOLE.replacen("00", "07", 1) + "-what.comes";
        assert_eq!(told(&[(PARENT, &later)]), whole);
        let unsampled = WHOLE.replace("-01", "-00");
        assert_eq!(told(&[(PARENT, &unsampled)]).unwrap().0, unsampled);
        let with_state = told(&[(PARENT, WHOLE), (STATE, "one=1,two=2")]).unwrap();
        assert_eq!(with_state, (WHOLE.to_owned(), "one=1,two=2".to_owned()));
        let long = format!("one={}", "x".repeat(MAX_STATE));
        assert_eq!(told(&[(PARENT, WHOLE), (STATE, &long)]), whole);

        for not in [
            "",
            "00",
            &WHOLE.to_uppercase(),
            &WHOLE.replacen("00", "ff", 1),
            &WHOLE.replace('-', "_"),
            &WHOLE.replace("b7ad", "b7gd"),
            &WHOLE.replace("b7ad6b7169203331", "0000000000000000"),
            &WHOLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &WHOLE.replace("0af76519", "+af76519"),
            &format!("{WHOLE}-"),
            &format!("{WHOLE}0"),
            &WHOLE[1..],
        ] {
            assert_eq!(told(&[(PARENT, not)]), None, "{not}");
        }
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[(PARENT, WHOLE), (PARENT, WHOLE)]), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_passed_on_unchanged_or_not_at_all(text in "[ -~]{0,70}", parent in "00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]") {
            for sent in [text, parent] {
                if let Some((said, _)) = told(&[(PARENT, &sent)]) {
                    prop_assert_eq!(&said[2..], &sent[2..LENGTH]);
                }
            }
        }
    }
}

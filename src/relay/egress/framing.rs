//! Where a message ends: said once and in one way, or the message is refused (RFC 9112 section 6).

use super::{fields::Fields, refusal::Malformed};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// Whether there is no body.
    pub(super) const fn is_empty(self) -> bool {
        matches!(self, Self::Length(0))
    }
}

/// The framing of a request.
pub(super) fn of_request(fields: &Fields, version: u8) -> Result<Framing, Malformed> {
    Ok(said(fields, version)?.unwrap_or(Framing::Length(0)))
}

/// The framing of a response with this status to a request that was, or was not, `HEAD`.
pub(super) fn of_response(
    fields: &Fields,
    version: u8,
    status: u16,
    to_head: bool,
) -> Result<Framing, Malformed> {
    let said = said(fields, version)?;
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    Ok(said.unwrap_or(Framing::UntilClose))
}

fn said(fields: &Fields, version: u8) -> Result<Option<Framing>, Malformed> {
    let coding = fields.at_most_one("transfer-encoding")?;
    let length = fields.at_most_one("content-length")?;
    match (coding, length) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Malformed("both Transfer-Encoding and Content-Length")),
        (Some(_), None) if version == 0 => Err(Malformed("Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Framing::Chunked))
        }
        (Some(_), None) => Err(Malformed("a Transfer-Encoding other than chunked")),
        (None, Some(length)) => parse_length(length).map(|length| Some(Framing::Length(length))),
    }
}

fn parse_length(text: &[u8]) -> Result<u64, Malformed> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed("a bad Content-Length"))
}

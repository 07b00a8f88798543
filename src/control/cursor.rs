//! Where a listing goes on: the last record that was shown, in an opaque word.
//!
//! Records are listed by creation time, newest first, so a page is fixed by the record it starts
//! after; records made in the meantime come before and move nothing.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::model::SessionId;

/// The last record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its creation, microseconds since 1970.
    pub(super) created_at: i64,
    /// Its id.
    pub(super) id: SessionId,
}

/// Text that no listing gave out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`cursor` must be the `next_cursor` of an earlier page")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = format!("{}:{}", self.created_at, self.id.as_str());
        f.write_str(&URL_SAFE_NO_PAD.encode(plain))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let plain = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_not_base64| InvalidCursor)?;
        let plain = String::from_utf8(plain).map_err(|_not_text| InvalidCursor)?;
        let (created_at, id) = plain.split_once(':').ok_or(InvalidCursor)?;
        Ok(Self {
            created_at: created_at.parse().map_err(|_not_a_number| InvalidCursor)?,
            id: id.parse().map_err(|_not_an_id| InvalidCursor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_client_and_anything_else_is_refused() {
        let cursor = Cursor {
            created_at: 1_700_000_000_000_000,
            id: SessionId::random(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "!", "YWJj", "MTIzOng"] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}

//! Takes out of text what lets its reader in: whole session ids, keys, tokens, credentials in URLs.
//! What is left of each still says which it was.

/// What begins a secret, how much of it may stay, and which characters it goes on with.
const SECRETS: [(&str, usize); 7] = [
    ("sess_", 23),
    ("sk_", 3),
    ("whsec_", 6),
    ("token=", 6),
    ("Bearer ", 7),
    ("TOKEN=", 6),
    ("password=", 9),
];

/// The text without its secrets.
pub(super) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&without_userinfo(&without_secrets(line)));
    }
    out
}

const fn belongs(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '/' | '%')
}

fn without_secrets(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while !rest.is_empty() {
        let begins = SECRETS.iter().find(|(word, _)| rest.starts_with(word));
        let Some((word, kept)) = begins else {
            let mut chars = rest.chars();
            out.extend(chars.next());
            rest = chars.as_str();
            continue;
        };
        let tail = &rest[word.len()..];
        let end = tail.find(|c| !belongs(c)).unwrap_or(tail.len()) + word.len();
        if end <= *kept {
            out.push_str(&rest[..end]);
        } else {
            out.push_str(&rest[..*kept]);
            out.push('…');
        }
        rest = &rest[end..];
    }
    out
}

/// `https://user:password@host` without the middle.
fn without_userinfo(line: &str) -> String {
    let Some((before, after)) = line.split_once("://") else {
        return line.to_owned();
    };
    let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '"');
    let end = end.unwrap_or(after.len());
    let (authority, tail) = after.split_at(end);
    let host = authority.rsplit_once('@').map(|(_secret, host)| host);
    let shown = host.map_or_else(|| authority.to_owned(), |host| format!("…@{host}"));
    format!("{before}://{shown}{}", without_userinfo(tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SessionId;

    #[test]
    fn what_lets_a_reader_in_is_gone_and_the_rest_stays() {
        let id = SessionId::random();
        let text = format!(
            "GET /sessions/{}?token=abc%2Fdef&x=1 HTTP\nkeys = [\"sk_live_0123\"]\n\
             proxy = \"http://me:pass@10.0.0.1:3128/\" and https://a:b@c\nAuthorization: Bearer sk_x\n",
            id.as_str()
        );
        let redacted = redact(&text);
        let prefix = &id.as_str()[..23];
        let expected = format!(
            "GET /sessions/{prefix}…?token=…&x=1 HTTP\nkeys = [\"sk_…\"]\n\
             proxy = \"http://…@10.0.0.1:3128/\" and https://…@c\nAuthorization: Bearer …\n"
        );
        assert_eq!(redacted, expected);
        assert_eq!(redact(&redacted), redacted, "again changes nothing");
    }

    proptest! {
        #[test]
        fn no_id_and_no_key_comes_through(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let id = SessionId::random();
            let text = format!("{before}{} sk_secret{after}", id.as_str());
            let redacted = redact(&text);
            prop_assert!(!redacted.contains(id.as_str()));
            prop_assert!(!redacted.contains("sk_secret"));
        }
    }
}

//! The `proxy` of a creation: a choice among the node's routes, or a proxy of the client's own.
//!
//! | field | asks for |
//! |---|---|
//! | `region`, `country`, `city` | where it comes out |
//! | `tag`, `tags` | words that the operator gave the route |
//! | `route` | one route by its name |
//! | `sticky` | the same route for the same key, as long as it is free |
//! | `server`, `username`, `password` | the client's own, `http://`, `https://` or `socks5://` |

use serde_json::Value;

use super::error::Refusal;
use crate::{
    model::{EgressWish, OwnProxy},
    routes::check_own,
};

const ALLOWED: &str =
    "region, country, city, tag, tags, route, sticky, or server, username, password";
const LONGEST: usize = 255;
const MOST_TAGS: usize = 32;

/// What is asked of the way out. No value is quoted in a refusal: it may be a password in the wrong
/// place.
pub(super) fn wish(value: Value) -> Result<EgressWish, Refusal> {
    let Value::Object(fields) = value else {
        let message = format!("`proxy` must be an object of: {ALLOWED}");
        return Err(Refusal::invalid(message));
    };
    let mut wish = EgressWish::default();
    let (mut server, mut username, mut password) = (None, String::new(), String::new());
    for (name, value) in fields {
        match &*name {
            _ if value.is_null() => {}
            "region" => wish.region = word(&name, value)?,
            "country" => wish.country = word(&name, value)?,
            "city" => wish.city = word(&name, value)?,
            "route" => wish.route = word(&name, value)?,
            "sticky" => wish.sticky = word(&name, value)?,
            "tag" => drop(wish.tags.insert(word(&name, value)?)),
            "tags" => wish.tags.extend(words(&name, value)?),
            "server" => server = Some(word(&name, value)?),
            "username" => username = word(&name, value)?,
            "password" => password = word(&name, value)?,
            _ => {
                let message = format!("unknown field `proxy.{name}`; allowed: {ALLOWED}");
                return Err(Refusal::invalid(message));
            }
        }
    }
    wish.own = own(server, username, password)?;
    let also = EgressWish {
        own: None,
        ..wish.clone()
    };
    if wish.own.is_some() && also.asks() {
        let message = "`proxy` must be either a `server` of yours or a choice among our routes";
        return Err(Refusal::invalid(message.to_owned()));
    }
    Ok(wish)
}

fn own(
    server: Option<String>,
    username: String,
    password: String,
) -> Result<Option<OwnProxy>, Refusal> {
    let Some(server) = server else {
        if username.is_empty() && password.is_empty() {
            return Ok(None);
        }
        let message = "`proxy.username` and `proxy.password` need a `proxy.server` beside them";
        return Err(Refusal::invalid(message.to_owned()));
    };
    check_own(&server).map_err(|why| Refusal::invalid(format!("`proxy.server`: {why}")))?;
    if username.contains(':') || (username.is_empty() && !password.is_empty()) {
        let message = "`proxy.username` must be there beside a password, and have no colon";
        return Err(Refusal::invalid(message.to_owned()));
    }
    Ok(Some(OwnProxy {
        server,
        has_login: !username.is_empty(),
        username: username.into(),
        password: password.into(),
    }))
}

fn word(name: &str, value: Value) -> Result<String, Refusal> {
    if let Value::String(text) = value
        && text.len() <= LONGEST
        && !text.contains(char::is_control)
    {
        return Ok(text);
    }
    Err(Refusal::invalid(format!(
        "`proxy.{name}` must be a string of at most {LONGEST} bytes on one line"
    )))
}

fn words(name: &str, value: Value) -> Result<Vec<String>, Refusal> {
    if let Value::Array(all) = value
        && all.len() <= MOST_TAGS
    {
        return all.into_iter().map(|one| word(name, one)).collect();
    }
    Err(Refusal::invalid(format!(
        "`proxy.{name}` must be a list of at most {MOST_TAGS} strings"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<EgressWish, String> {
        wish(value).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn a_choice_among_routes_is_read() {
        let wish = read(json!({ "region": "de", "tag": "fast", "tags": ["tv"], "city": null }));
        assert_eq!(
            wish.unwrap().to_string(),
            "region \"de\", tag \"fast\", tag \"tv\""
        );
        assert!(!read(json!({})).unwrap().asks());
    }

    #[test]
    fn a_proxy_of_the_clients_own_is_read() {
        let own =
            json!({ "server": "socks5://gate.example:1080", "username": "u", "password": "p" });
        let own = read(own).unwrap().own.unwrap();
        assert!(own.has_login);
        assert_eq!((own.username.exposed(), own.password.exposed()), ("u", "p"));
        let keyed = json!({ "server": "http://10.0.0.1:80", "sticky": "cart-9" });
        assert!(!read(keyed).unwrap().own.unwrap().has_login);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        for (value, named) in [
            (json!("de"), "`proxy` must be an object"),
            (json!({ "regoin": "de" }), "`proxy.regoin`"),
            (json!({ "region": 7 }), "`proxy.region`"),
            (json!({ "tags": "hunter2" }), "`proxy.tags`"),
            (json!({ "server": "hunter2" }), "`proxy.server`"),
            (json!({ "password": "hunter2" }), "`proxy.server` beside"),
            (
                json!({ "server": "http://a:1", "password": "hunter2" }),
                "`proxy.username`",
            ),
            (
                json!({ "server": "http://a:1", "region": "de" }),
                "either a `server`",
            ),
        ] {
            let refusal = read(value).unwrap_err();
            assert!(
                refusal.contains(named) && !refusal.contains("hunter2"),
                "{refusal}"
            );
        }
    }
}

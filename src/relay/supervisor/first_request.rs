//! The first request of a page that opens at an address: a popup without an opener, a tab of a client.
//!
//! Chromium writes the client hints of such a request before it lets a debugger near the page, and
//! they are a desktop's. The request itself waits: it is held by the Fetch domain once, on its way
//! out, and goes on with the phone's hints. All that follows, redirects included, is right by itself.

use serde_json::{Map, Value, json};

use super::{brands::Version, link::TargetInfo, overrides::Kind};
use crate::{cdp::Command, profile::Profile};

/// Whether the first request of this target has been written already.
pub(super) fn is_written(target: &TargetInfo, waiting: bool) -> bool {
    Kind::of(&target.r#type) == Kind::Page
        && waiting
        && !target.can_access_opener
        && target.url != "about:blank"
}

/// Holds the next document's request.
pub(super) fn hold() -> Command {
    Command {
        method: "Fetch.enable",
        params: json!({ "patterns": [{ "resourceType": "Document", "requestStage": "Request" }] }),
    }
}

/// Lets a held request (the parameters of `Fetch.requestPaused`) go as the phone's, and holds no
/// other.
pub(super) fn release(paused: &Value, profile: &Profile, version: &Version) -> [Command; 2] {
    let empty = Map::new();
    let headers = paused["request"]["headers"].as_object().unwrap_or(&empty);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            let hint = hint(&name.to_ascii_lowercase(), profile, version);
            json!({ "name": name, "value": hint.map_or_else(|| value.clone(), Value::String) })
        })
        .collect();
    [
        Command {
            method: "Fetch.continueRequest",
            params: json!({ "requestId": paused["requestId"], "headers": headers }),
        },
        Command {
            method: "Fetch.disable",
            params: json!({}),
        },
    ]
}

/// The phone's value of a client hint (structured field values, RFC 8941); `None`: another header.
fn hint(name: &str, profile: &Profile, version: &Version) -> Option<String> {
    let identity = &profile.identity;
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let value = match name {
        "sec-ch-ua" => brands(&version.brands(), quoted),
        "sec-ch-ua-mobile" => format!("?{}", u8::from(profile.is_mobile())),
        "sec-ch-ua-platform" => quoted("Android"),
        "sec-ch-ua-platform-version" => quoted(&identity.platform_version),
        "sec-ch-ua-model" => quoted(&identity.model),
        "sec-ch-ua-arch" | "sec-ch-ua-bitness" => quoted(""),
        "sec-ch-ua-wow64" => "?0".to_owned(),
        "sec-ch-ua-full-version" => quoted(&version.full),
        "sec-ch-ua-full-version-list" => brands(&version.full_version_list(), quoted),
        "sec-ch-ua-form-factors" => {
            let all: Vec<_> = identity
                .form_factors
                .iter()
                .map(|one| quoted(one))
                .collect();
            all.join(", ")
        }
        _ => return None,
    };
    Some(value)
}

fn brands(list: &Value, quoted: impl Fn(&str) -> String) -> String {
    let text = |brand: &Value, key: &str| quoted(brand[key].as_str().unwrap_or_default());
    let one = |brand: &Value| format!("{};v={}", text(brand, "brand"), text(brand, "version"));
    let all: Vec<_> = list.as_array().into_iter().flatten().map(one).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::supervisor::tests::phone;

    fn target(r#type: &str, url: &str, can_access_opener: bool) -> TargetInfo {
        let told = json!({
            "targetId": "T", "type": r#type, "url": url, "canAccessOpener": can_access_opener,
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn only_a_page_that_opens_at_an_address_has_written_its_request() {
        assert!(is_written(&target("page", "", false), true));
        assert!(is_written(&target("page", "https://a.test/", false), true));
        assert!(!is_written(&target("page", "", true), true));
        assert!(!is_written(&target("page", "about:blank", false), true));
        assert!(!is_written(
            &target("page", "https://a.test/", false),
            false
        ));
        assert!(!is_written(&target("iframe", "", false), true));
    }

    #[test]
    fn hints_are_the_phones_and_all_else_stays() {
        let version = Version::of("Chrome/156.0.8078.79").unwrap();
        let paused = json!({ "requestId": "R", "request": { "headers": {
            "Sec-CH-UA": "\"Chromium\";v=\"156\"", "sec-ch-ua-mobile": "?0",
            "sec-ch-ua-platform": "\"Linux\"", "sec-ch-ua-model": "\"\"", "Referer": "https://a.test/",
        } } });
        let [go_on, stop] = release(&paused, &phone(), &version);
        assert_eq!(
            (go_on.method, stop.method),
            ("Fetch.continueRequest", "Fetch.disable")
        );
        assert_eq!(go_on.params["requestId"], "R");
        let header = |name: &str| {
            let headers = go_on.params["headers"].as_array().unwrap();
            headers.iter().find(|one| one["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!(header("sec-ch-ua-mobile"), "?1");
        assert_eq!(header("sec-ch-ua-platform"), "\"Android\"");
        assert_eq!(header("Referer"), "https://a.test/");
        let brands = header("Sec-CH-UA");
        assert!(
            brands
                .as_str()
                .unwrap()
                .contains("\"Google Chrome\";v=\"156\""),
            "{brands}"
        );
    }
}

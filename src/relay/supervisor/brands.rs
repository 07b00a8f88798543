//! The brand list of client hints, as Chrome of a given major version makes it.
//!
//! A page can read the list only in a secure context, which the first page (`about:blank`) is not,
//! and the binary in the container is Chromium, whose list lacks the brand that a phone's Chrome
//! has. But the list follows from the major version alone: Chrome seeds the order, the spelling of
//! the deliberately meaningless brand and its version with it (`GenerateBrandVersionList` in
//! `components/embedder_support/user_agent_utils.cc`).

use serde_json::{Value, json};

/// Characters that stand in the meaningless brand so that nobody can parse it carelessly.
const ODD: [char; 11] = [' ', '(', ':', '-', '.', '/', ')', ';', '=', '?', '_'];
const ODD_VERSIONS: [&str; 3] = ["8", "99", "24"];
/// Where the meaningless brand, Chromium and Chrome go.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// A version such as `156.0.8078.79`, with its major number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::relay) struct Version {
    pub(in crate::relay) full: String,
    pub(in crate::relay) major: u32,
}

impl Version {
    /// Out of a product such as `Chrome/156.0.8078.79`.
    pub(in crate::relay) fn of(product: &str) -> Option<Self> {
        let (_name, full) = product.split_once('/')?;
        let major = full.split('.').next()?.parse().ok()?;
        Some(Self {
            full: full.to_owned(),
            major,
        })
    }

    /// `brands`: major versions only.
    pub(in crate::relay) fn brands(&self) -> Value {
        self.list(&self.major.to_string(), "")
    }

    /// `fullVersionList`.
    pub(in crate::relay) fn full_version_list(&self) -> Value {
        self.list(&self.full, ".0.0.0")
    }

    fn list(&self, version: &str, odd_tail: &str) -> Value {
        let seed = self.major as usize;
        let odd = format!(
            "Not{}A{}Brand",
            ODD[seed % ODD.len()],
            ODD[(seed + 1) % ODD.len()]
        );
        let odd_version = format!("{}{odd_tail}", ODD_VERSIONS[seed % ODD_VERSIONS.len()]);
        let [odd_at, chromium_at, chrome_at] = ORDERS[seed % ORDERS.len()];
        let mut list = [const { Value::Null }; 3];
        list[odd_at] = json!({ "brand": odd, "version": odd_version });
        list[chromium_at] = json!({ "brand": "Chromium", "version": version });
        list[chrome_at] = json!({ "brand": "Google Chrome", "version": version });
        Value::Array(list.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(product: &str) -> String {
        let brands = Version::of(product).unwrap().brands();
        let one = |entry: &Value| format!("{};v={}", entry["brand"], entry["version"]);
        let brands: Vec<_> = brands.as_array().unwrap().iter().map(one).collect();
        brands.join(", ")
    }

    /// `Sec-CH-UA` as released versions of Chrome send it; of 156 the meaningless brand was read
    /// from the running Chromium.
    #[test]
    fn the_list_is_the_one_that_chrome_sends() {
        assert_eq!(
            header("Chrome/137.0.7151.55"),
            r#""Google Chrome";v="137", "Chromium";v="137", "Not/A)Brand";v="24""#
        );
        assert_eq!(
            header("Chrome/120.0.6099.71"),
            r#""Not_A Brand";v="8", "Chromium";v="120", "Google Chrome";v="120""#
        );
        assert_eq!(
            header("Chrome/156.0.8078.79"),
            r#""Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156""#
        );
    }

    #[test]
    fn the_full_list_has_the_running_version() {
        let list = Version::of("Chrome/156.0.8078.79")
            .unwrap()
            .full_version_list();
        assert_eq!(list[0]["version"], "8.0.0.0");
        assert_eq!(list[2]["version"], "156.0.8078.79");
        assert_eq!(Version::of("Chrome"), None);
    }
}

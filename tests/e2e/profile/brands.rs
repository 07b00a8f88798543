//! Lists of brands, as scripts read them and as headers carry them, made comparable.

use serde_json::{Value, json};

/// Brand lists in one order, as a script has them and as a header has them; all else unchanged.
pub fn normal(value: &Value) -> Value {
    if let Value::Object(members) = value {
        return members
            .iter()
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect();
    }
    let Some(mut brands) = brands(value) else {
        return value.clone();
    };
    for (brand, version) in &mut brands {
        if brand.starts_with("Not") {
            "Not…".clone_into(brand);
            "…".clone_into(version);
        }
    }
    brands.sort();
    let one = |(brand, version)| json!({ "brand": brand, "version": version });
    brands.into_iter().map(one).collect()
}

fn brands(value: &Value) -> Option<Vec<(String, String)>> {
    if let Some(header) = value.as_str() {
        let one = |entry: &str| {
            let (brand, version) = entry.split_once(";v=")?;
            Some((
                brand.trim_matches('"').to_owned(),
                version.trim_matches('"').to_owned(),
            ))
        };
        return header.split(", ").map(one).collect();
    }
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let one = |entry: &Value| {
        let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
        Some((text("brand")?, text("version")?))
    };
    list.iter().map(one).collect()
}

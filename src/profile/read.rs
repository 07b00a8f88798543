//! Reading a profile that somebody wrote: every field, no other, and a device that could exist.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Profile, check};

/// Why a text is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// Not even TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field that a profile does not have.
    #[error("`{field}` is no field of a profile; there is: {allowed}")]
    Unknown {
        /// The field, dotted.
        field: String,
        /// The fields of its table.
        allowed: String,
    },
    /// A field that every profile has.
    #[error("`{field}` is missing; a profile has every field, for example `{example}`")]
    Missing {
        /// The field, dotted.
        field: String,
        /// The line as it could be.
        example: String,
    },
    /// A value of the wrong type.
    #[error("`{field}` {problem}")]
    Type {
        /// The field, dotted.
        field: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// One value contradicts another, or sense.
    #[error("`{field}` is {found}, but must be {allowed}")]
    Value {
        /// The field, dotted.
        field: &'static str,
        /// The value.
        found: String,
        /// What would have been accepted.
        allowed: String,
    },
}

/// Reads one profile and checks that a device could have it.
///
/// # Errors
/// [`InvalidProfile`], naming the first field that is wrong.
pub fn parse(text: &str) -> Result<Profile, InvalidProfile> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| InvalidProfile::Syntax(one_line(&error.to_string())))?;
    same_fields("", &table, &model())?;
    let profile = deserialize(table)?;
    check::check(&profile)?;
    Ok(profile)
}

/// What serde, which must be lenient toward other versions of a relay, would let pass.
fn same_fields(at: &str, given: &Table, wanted: &Table) -> Result<(), InvalidProfile> {
    let dotted = |name: &str| match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    };
    if let Some(unknown) = given.keys().find(|name| !wanted.contains_key(*name)) {
        let allowed: Vec<_> = wanted.keys().map(String::as_str).collect();
        return Err(InvalidProfile::Unknown {
            field: dotted(unknown),
            allowed: allowed.join(", "),
        });
    }
    for (name, example) in wanted {
        match (given.get(name), example) {
            (None, _) => {
                return Err(InvalidProfile::Missing {
                    field: dotted(name),
                    example: if example.is_table() {
                        format!("[{name}]")
                    } else {
                        format!("{name} = {example}")
                    },
                });
            }
            (Some(Value::Table(given)), Value::Table(wanted)) => {
                same_fields(&dotted(name), given, wanted)?;
            }
            (Some(_), _) => {}
        }
    }
    Ok(())
}

/// A profile as it is written, to compare with.
fn model() -> Table {
    toml::from_str(include_str!("devices/default.toml")).expect("a test reads every embedded one")
}

fn deserialize<T: DeserializeOwned>(table: Table) -> Result<T, InvalidProfile> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let field = error.path().to_string();
        let problem = one_line(error.inner().message());
        InvalidProfile::Type { field, problem }
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("devices/default.toml");

    fn refusal(from: &str, to: &str) -> String {
        let changed = TEXT.replacen(from, to, 1);
        assert_ne!(changed, TEXT, "{from}");
        parse(&changed).unwrap_err().to_string()
    }

    #[test]
    fn what_a_profile_does_not_have_is_refused_by_name() {
        assert_eq!(
            refusal("touch_points", "touchpoints"),
            "`input.touchpoints` is no field of a profile; there is: hover, pointer, touch_points"
        );
        assert!(refusal("[input]", "[imput]").starts_with("`imput` is no field"));
    }

    #[test]
    fn what_it_lacks_too() {
        assert_eq!(
            refusal("concurrency = 8\n", ""),
            "`hardware.concurrency` is missing; a profile has every field, for example \
             `concurrency = 8`"
        );
        assert!(refusal("[screen]", "[identity.screen]").contains("no field of a profile"));
    }

    #[test]
    fn wrong_types_and_words_name_field_and_what_is_allowed() {
        let said = refusal("touch_points = 5", "touch_points = \"five\"");
        assert!(
            said.contains("`input.touch_points`") && said.contains("u32"),
            "{said}"
        );
        let said = refusal("pointer = \"coarse\"", "pointer = \"thumb\"");
        assert!(
            said.contains("`input.pointer`")
                && said.contains("`coarse`")
                && said.contains("`fine`"),
            "{said}"
        );
        assert!(refusal("name = ", "name : ").starts_with("not TOML"));
    }

    /// A relay of another version.
    #[test]
    fn the_wire_is_lenient() {
        let profile = parse(TEXT).unwrap();
        let mut json = serde_json::to_value(&profile).unwrap();
        assert_eq!(
            serde_json::from_value::<Profile>(json.clone()).unwrap(),
            profile
        );
        json["screen"]["curvature"] = serde_json::json!(7);
        json["screen"]
            .as_object_mut()
            .unwrap()
            .remove("orientation");
        json.as_object_mut().unwrap().remove("network");
        assert_eq!(serde_json::from_value::<Profile>(json).unwrap(), profile);
    }
}

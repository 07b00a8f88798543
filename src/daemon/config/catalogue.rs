//! Which keys exist: read from the documented file itself, so that documentation, environment and
//! refusals cannot disagree.

use toml::{Table, Value};

/// The file that users read; every key with its default.
pub const DOCUMENTED: &str = include_str!("../../../systemd/chaser.toml");

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    /// `None` for the keys at the top.
    pub(super) section: Option<String>,
    pub(super) name: String,
    /// The default, or an example for keys without one.
    pub(super) example: Value,
}

impl Key {
    /// `api.listen`.
    pub(super) fn path(&self) -> String {
        match &self.section {
            Some(section) => format!("{section}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// `CHASER_API_LISTEN`.
    pub(super) fn variable(&self) -> String {
        format!("CHASER_{}", self.path().replace('.', "_").to_uppercase())
    }
}

/// The documented file with its keys without a default switched on.
fn complete() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    DOCUMENTED.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// Every key, in the order of the file.
///
/// # Panics
/// Never: the file is part of the program and a test parses it.
pub(super) fn keys() -> Vec<Key> {
    let table: Table = complete().parse().expect("systemd/chaser.toml is tested");
    let mut keys = Vec::new();
    for (name, value) in table {
        if let Value::Table(section) = value {
            below(&mut keys, &name, section);
        } else {
            keys.push(Key {
                section: None,
                name,
                example: value,
            });
        }
    }
    keys
}

/// The keys of a section, and of those inside it (`[substrate.redroid]`).
fn below(keys: &mut Vec<Key>, section: &str, table: Table) {
    for (name, example) in table {
        if let Value::Table(inner) = example {
            below(keys, &format!("{section}.{name}"), inner);
        } else {
            keys.push(Key {
                section: Some(section.to_owned()),
                name,
                example,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{
        Deserialize, Deserializer,
        de::{Error, Visitor, value},
        forward_to_deserialize_any,
    };

    use super::*;
    use crate::{daemon::config::Config, instance::substrate::android};

    /// Learns the field names of a struct from what it tells serde.
    struct Fields(&'static [&'static str]);

    impl<'de> Deserializer<'de> for &mut Fields {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
            Err(value::Error::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, value::Error> {
            self.0 = fields;
            Err(value::Error::custom("only looking"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    fn fields<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
        let mut fields = Fields(&[]);
        assert!(T::deserialize(&mut fields).is_err());
        fields.0.to_vec()
    }

    #[test]
    fn the_documented_file_holds_the_defaults() {
        let parsed: Config = toml::from_str(DOCUMENTED).unwrap();
        assert_eq!(parsed, Config::default());
        let complete: Result<Config, _> = toml::from_str(&complete());
        assert!(complete.is_ok(), "{complete:?}");
    }

    #[test]
    fn the_documented_file_names_every_key() {
        let sections = [
            ("node", fields::<crate::node::Config>()),
            ("host", fields::<crate::host::monitor::Config>()),
            ("profile", fields::<crate::profile::Config>()),
            ("instance", fields::<crate::instance::Config>()),
            ("pool", fields::<crate::node::PoolConfig>()),
            ("session", fields::<crate::session::Config>()),
            ("egress", fields::<crate::routes::Config>()),
            ("hooks", fields::<crate::node::HooksConfig>()),
            ("notice", fields::<crate::node::NoticeConfig>()),
            ("cdp", fields::<crate::relay::Config>()),
            ("api", fields::<crate::control::Config>()),
            ("admin", fields::<crate::api::admin::Config>()),
            ("tls", fields::<crate::tls::Config>()),
            ("log", fields::<crate::daemon::telemetry::Config>()),
            ("substrate.emulator", fields::<android::Device>()),
            ("substrate.redroid", fields::<android::Device>()),
            ("substrate.cuttlefish", fields::<android::Device>()),
        ];
        let kinds = fields::<android::Config>();
        assert_eq!(kinds, ["emulator", "redroid", "cuttlefish"]);
        let mut expected = vec!["runtime_dir".to_owned(), "state_dir".to_owned()];
        for (section, names) in &sections {
            assert!(!names.is_empty(), "{section}");
            expected.extend(names.iter().map(|name| format!("{section}.{name}")));
        }
        expected.sort();
        let mut documented: Vec<String> = keys().iter().map(Key::path).collect();
        documented.sort();
        assert_eq!(documented, expected);
        let tops = fields::<Config>();
        assert!(tops.iter().all(|top| {
            *top == "state_dir"
                || *top == "runtime_dir"
                || sections
                    .iter()
                    .any(|(s, _)| s.split('.').next() == Some(top))
        }));
    }
}

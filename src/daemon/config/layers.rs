//! Merging the layers: one table of values, and for each where it came from.

use std::{collections::BTreeMap, fs, path::PathBuf};

use toml::{Table, Value};

use super::{
    Config, ConfigError, Origin,
    catalogue::{self, Key},
    check::Problem,
};

/// Variables with our prefix that are no keys of the configuration.
const NOT_KEYS: [&str; 4] = [
    "CHASER_CONFIG",
    "CHASER_API_KEY",
    "CHASER_API_CA",
    "CHASER_API_URL",
];
const PREFIX: &str = "CHASER_";

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, when one was named.
    pub file: Option<PathBuf>,
    /// The environment of the process.
    pub environment: Vec<(String, String)>,
    /// What the command line sets.
    pub flags: Vec<Flag>,
}

/// One key set by a flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it is typed.
    pub name: &'static str,
    /// The key, such as `api.listen`.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
}

/// The merged values, not yet parsed.
#[derive(Debug)]
pub(super) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    keys: Vec<Key>,
}

impl Layers {
    pub(super) fn merge(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Self {
            values: BTreeMap::new(),
            keys: catalogue::keys(),
        };
        if let Some(path) = &sources.file {
            layers.add_file(path.clone())?;
        }
        for (name, text) in &sources.environment {
            layers.add_variable(name, text)?;
        }
        for flag in &sources.flags {
            layers.set(flag.key, flag.value.clone(), Origin::Flag(flag.name))?;
        }
        Ok(layers)
    }

    fn add_file(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let message = error.to_string().trim_end().to_owned();
            let path = path.clone();
            ConfigError::Syntax { path, message }
        })?;
        let origin = Origin::File(path);
        for (name, value) in table {
            if let Value::Table(section) = value {
                self.add_section(&name, section, &origin)?;
            } else {
                self.set(&name, value, origin.clone())?;
            }
        }
        Ok(())
    }

    fn add_section(
        &mut self,
        name: &str,
        section: Table,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        for (key, value) in section {
            let path = format!("{name}.{key}");
            if let Value::Table(inner) = value {
                self.add_section(&path, inner, origin)?;
            } else {
                self.set(&path, value, origin.clone())?;
            }
        }
        if self.is_section(name) {
            Ok(())
        } else {
            Err(self.unknown(name, origin.clone()))
        }
    }

    /// Whether there are keys in, or somewhere below, a section of this name.
    fn is_section(&self, name: &str) -> bool {
        let below = format!("{name}.");
        let mut sections = self.keys.iter().filter_map(|key| key.section.as_deref());
        sections.any(|section| section == name || section.starts_with(&below))
    }

    fn add_variable(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        if !name.starts_with(PREFIX) || NOT_KEYS.contains(&name) {
            return Ok(());
        }
        let origin = Origin::Variable(name.to_owned());
        let Some(key) = self.keys.iter().find(|key| key.variable() == name) else {
            let section = name[PREFIX.len()..].split('_').next().unwrap_or_default();
            let section = section.to_lowercase();
            let mut near: Vec<String> = (self.keys.iter())
                .filter(|key| {
                    let first = key
                        .section
                        .as_deref()
                        .and_then(|name| name.split('.').next());
                    first == Some(section.as_str())
                })
                .map(Key::variable)
                .collect();
            if near.is_empty() {
                near = vec!["CHASER_<SECTION>_<KEY> for a key of chaser.toml".to_owned()];
            }
            return Err(ConfigError::UnknownKey {
                origin,
                key: name.to_owned(),
                allowed: near.join(", "),
            });
        };
        let path = key.path();
        match typed(text, &key.example) {
            Ok(value) => self.set(&path, value, origin),
            Err(allowed) => Err(ConfigError::BadValue {
                origin,
                key: path,
                problem: format!("is \"{text}\", but must be {allowed}"),
            }),
        }
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if !self.keys.iter().any(|key| key.path() == path) {
            return Err(self.unknown(path, origin));
        }
        self.values.insert(path.to_owned(), (value, origin));
        Ok(())
    }

    fn unknown(&self, path: &str, origin: Origin) -> ConfigError {
        let section = path.rsplit_once('.').map(|(section, _)| section);
        let mut allowed: Vec<String> = (self.keys.iter())
            .filter(|key| key.section.as_deref() == section)
            .map(|key| key.name.clone())
            .collect();
        if section.is_none() || allowed.is_empty() {
            allowed.extend(self.keys.iter().filter_map(|key| {
                let section = key.section.as_ref()?;
                Some(format!("[{section}]"))
            }));
            allowed.dedup();
        }
        ConfigError::UnknownKey {
            origin,
            key: path.to_owned(),
            allowed: allowed.join(", "),
        }
    }

    /// Each value alone first, because only then the one that is wrong can be named.
    pub(super) fn parse(&self) -> Result<Config, ConfigError> {
        let mut whole = Table::new();
        for (path, (value, origin)) in &self.values {
            let mut alone = Table::new();
            insert(&mut alone, path, value.clone());
            if let Err(error) = alone.try_into::<Config>() {
                return Err(ConfigError::BadValue {
                    origin: origin.clone(),
                    key: path.clone(),
                    problem: self.bad(path, value, &error),
                });
            }
            insert(&mut whole, path, value.clone());
        }
        whole
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::BadValue {
                origin: Origin::Default,
                key: "configuration".to_owned(),
                problem: error.message().to_owned(),
            })
    }

    fn bad(&self, path: &str, value: &Value, error: &toml::de::Error) -> String {
        let reason = error.message();
        // A key in the clear is never printed, not even a malformed one.
        if path == "api.keys" {
            return format!("is wrong: {reason}");
        }
        let example = (self.keys.iter())
            .find(|key| key.path() == path)
            .map_or_else(String::new, |key| key.example.to_string());
        format!("is {value}, which is wrong: {reason}; allowed is, for example, {example}")
    }

    /// Adds the origin to what a check found.
    pub(super) fn blame(&self, problem: Problem) -> ConfigError {
        let origin = (self.values.get(problem.key.as_ref()))
            .map_or(Origin::Default, |(_, origin)| origin.clone());
        ConfigError::BadValue {
            origin,
            key: problem.key.into_owned(),
            problem: problem.sentence,
        }
    }
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, key)) => {
            let inner = table
                .entry(section.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, key, value);
            }
        }
    }
}

/// Text from the environment as the type that the key has.
fn typed(text: &str, example: &Value) -> Result<Value, &'static str> {
    match example {
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_not_a_number| "a whole number"),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_not_a_bool| "true or false"),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        )),
        Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            Ok(Value::String(text.to_owned()))
        }
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;

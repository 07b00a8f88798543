//! Where a node's routes are written down: the operator's file, and what was added by command.
//!
//! The operator's file is only read. What `chaser route add` brings is kept in the state directory, in
//! a file of the same kind, so a restart finds it; a login is in neither. Names of routes that are out of
//! service are in a third, one a line.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Config, Refused, Route, from_text, read};

/// The places.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The addresses and the operator's file.
    pub config: Config,
    /// What was added by command; need not exist.
    pub added: PathBuf,
}

impl Sources {
    /// Every route that is written down, as it is now.
    ///
    /// # Errors
    /// [`Refused`] by the first thing that is wrong.
    pub fn all(&self) -> Result<Vec<Route>, Refused> {
        self.all_with(&self.added()?)
    }

    fn all_with(&self, added: &str) -> Result<Vec<Route>, Refused> {
        let mut all = self.config.all()?;
        all.extend(from_text(added)?);
        read::unique(&all)?;
        Ok(all)
    }

    /// Writes these tables down beside what is there; answers all routes and the names of the new ones.
    ///
    /// # Errors
    /// [`Refused`]; nothing is written then.
    pub fn add(&self, tables: &str) -> Result<(Vec<Route>, Vec<String>), Refused> {
        let new = from_text(tables)?;
        let mut written: Table = parse(&self.added()?)?;
        for table in list(&mut parse(tables)?).drain(..) {
            list(&mut written).push(table);
        }
        let text = written.to_string();
        let all = self.all_with(&text)?;
        write(&self.added, &text)?;
        Ok((all, new.into_iter().map(|route| route.name).collect()))
    }

    /// Takes out what was added under `name`; answers all that is left, or `None` where there is no such
    /// table.
    ///
    /// # Errors
    /// [`Refused`]; nothing is written then.
    pub fn remove(&self, name: &str) -> Result<Option<Vec<Route>>, Refused> {
        let mut written = parse(&self.added()?)?;
        let tables = list(&mut written);
        let before = tables.len();
        tables.retain(|table| table.get("name").and_then(Value::as_str) != Some(name));
        if tables.len() == before {
            return Ok(None);
        }
        let text = written.to_string();
        let all = self.all_with(&text)?;
        write(&self.added, &text)?;
        Ok(Some(all))
    }

    /// Names of routes that are out of service.
    ///
    /// # Errors
    /// [`Refused`] where that cannot be read.
    pub fn drained(&self) -> Result<BTreeSet<String>, Refused> {
        let text = read_or_nothing(&self.drained_file())?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Writes down that a route is out of service, or `back`.
    ///
    /// # Errors
    /// [`Refused`] where that cannot be written; nothing has changed then.
    pub fn drain(&self, name: &str, back: bool) -> Result<(), Refused> {
        let mut names = self.drained()?;
        let changed = if back {
            names.remove(name)
        } else {
            names.insert(name.to_owned())
        };
        if !changed {
            return Ok(());
        }
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        write(&self.drained_file(), &lines)
    }

    fn drained_file(&self) -> PathBuf {
        self.added.with_extension("drained")
    }

    fn added(&self) -> Result<String, Refused> {
        read_or_nothing(&self.added)
    }
}

fn read_or_nothing(path: &Path) -> Result<String, Refused> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Refused> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Refused {
    Refused::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

fn parse(text: &str) -> Result<Table, Refused> {
    text.parse()
        .map_err(|error: toml::de::Error| Refused::Syntax(error.message().to_owned()))
}

/// The `[[route]]` tables of a file.
fn list(of: &mut Table) -> &mut Vec<Value> {
    let entry = of
        .entry("route")
        .or_insert_with(|| Value::Array(Vec::new()));
    if !entry.is_array() {
        *entry = Value::Array(Vec::new());
    }
    entry.as_array_mut().expect("it was made one just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(name: &str) -> String {
        format!("[[route]]\nname = \"{name}\"\nkind = \"direct\"\ncountry = \"de\"\n")
    }

    #[test]
    fn what_is_added_is_found_again_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources {
            config: Config::default(),
            added: dir.path().join("routes.toml"),
        };
        assert!(sources.all().unwrap().is_empty());
        let (all, new) = sources.add(&(direct("a") + &direct("b"))).unwrap();
        assert_eq!((all.len(), new), (2, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(
            sources.add(&direct("b")),
            Err(Refused::Twice("b".to_owned()))
        );
        sources
            .add("[[route]]\nname = \"c\"\nkind = \"carrier pigeon\"")
            .unwrap_err();
        sources.add(&direct("c")).unwrap();
        let names = || {
            let all = sources.all().unwrap().into_iter();
            all.map(|route| route.name).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["a", "b", "c"]);
        assert_eq!(sources.remove("d"), Ok(None));
        assert_eq!(sources.remove("b").unwrap().unwrap().len(), 2);
        assert_eq!(names(), ["a", "c"]);
    }
}

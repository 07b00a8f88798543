//! Every profile by its name: those that the binary brings, then the operator's own.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use super::{Config, InvalidProfile, Profile, parse};
use crate::model::{Class, Classify, Substrate};

/// What the binary brings, with the file's name for whoever breaks one.
const EMBEDDED: &[(&str, &str)] = &[
    ("default", include_str!("devices/default.toml")),
    ("galaxy-s25", include_str!("devices/galaxy-s25.toml")),
    (
        "galaxy-s24-ultra",
        include_str!("devices/galaxy-s24-ultra.toml"),
    ),
    ("pixel-10", include_str!("devices/pixel-10.toml")),
    ("redmi-13c", include_str!("devices/redmi-13c.toml")),
    ("oneplus-13", include_str!("devices/oneplus-13.toml")),
    (
        "edge-50-fusion",
        include_str!("devices/edge-50-fusion.toml"),
    ),
    ("pixel-tablet", include_str!("devices/pixel-tablet.toml")),
];

static BUILT_IN: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let known = |text: &str| Known {
        profile: Arc::new(parse(text).expect("embedded profiles are checked by a test")),
        file: None,
    };
    EMBEDDED
        .iter()
        .map(|(name, text)| ((*name).to_owned(), known(text)))
        .collect()
});

/// Why the profiles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCatalogue {
    /// The directory, or a file in it.
    #[error("`profile.dir`: {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no profile.
    #[error("`profile.dir`: {}: {source}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        source: InvalidProfile,
    },
    /// A name that is taken.
    #[error(
        "`profile.dir`: {}: the name `{name}` is taken by {taken_by}; give it another `name`",
        path.display()
    )]
    Taken {
        /// Which.
        path: PathBuf,
        /// The name.
        name: String,
        /// By what.
        taken_by: String,
    },
}

impl Classify for InvalidCatalogue {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

/// A profile and where it is from.
#[derive(Debug, Clone)]
struct Known {
    profile: Arc<Profile>,
    /// `None` for what the binary brings.
    file: Option<PathBuf>,
}

/// The profiles that may be ordered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    known: Arc<BTreeMap<String, Known>>,
}

impl Catalogue {
    /// What the binary brings.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            known: Arc::new(BUILT_IN.clone()),
        }
    }

    /// The same, and the files of the configured directory.
    ///
    /// # Errors
    /// [`InvalidCatalogue`] for the first file, by name, that cannot be used.
    pub fn load(config: &Config) -> Result<Self, InvalidCatalogue> {
        let mut known = BUILT_IN.clone();
        if !config.dir.as_os_str().is_empty() {
            for path in files(&config.dir)? {
                add(&mut known, path)?;
            }
        }
        Ok(Self {
            known: Arc::new(known),
        })
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Profile>> {
        self.known.get(name).map(|known| Arc::clone(&known.profile))
    }

    /// The profile of whoever names none.
    ///
    /// # Panics
    /// Never: it is built in, and no file may take its name.
    #[must_use]
    pub fn default_profile(&self) -> Arc<Profile> {
        self.named(super::DEFAULT).expect("it is built in")
    }

    /// The names that [`Catalogue::named`] knows, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }

    /// Every profile with the file that it is from, if it is from one; sorted by name.
    pub fn all(&self) -> impl Iterator<Item = (&Profile, Option<&Path>)> {
        self.known
            .values()
            .map(|known| (&*known.profile, known.file.as_deref()))
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, InvalidCatalogue> {
    let unreadable = |source| InvalidCatalogue::Unreadable {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    // The same complaint at every start.
    files.sort();
    Ok(files)
}

fn add(known: &mut BTreeMap<String, Known>, path: PathBuf) -> Result<(), InvalidCatalogue> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(InvalidCatalogue::Unreadable { path, source }),
    };
    let profile = match parse(&text) {
        Ok(profile) => profile,
        Err(source) => return Err(InvalidCatalogue::Invalid { path, source }),
    };
    if let Some(other) = known.get(&profile.name) {
        return Err(InvalidCatalogue::Taken {
            path,
            name: profile.name,
            taken_by: match &other.file {
                Some(file) => file.display().to_string(),
                None => "a profile that the binary brings".to_owned(),
            },
        });
    }
    let mut kinds = Substrate::ALL.into_iter();
    if let Some(kind) =
        kinds.find(|kind| *kind != Substrate::Chromium && kind.as_str() == profile.name)
    {
        return Err(InvalidCatalogue::Taken {
            path,
            name: profile.name,
            taken_by: format!("the devices that `[substrate.{kind}]` describes"),
        });
    }
    let name = profile.name.clone();
    let profile = Arc::new(profile);
    let file = Some(path);
    known.insert(name, Known { profile, file });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let config = Config {
            dir: dir.path().to_owned(),
        };
        (dir, config)
    }

    #[test]
    fn every_embedded_profile_is_valid_and_named_after_its_file() {
        for (name, text) in EMBEDDED {
            let profile = parse(text).unwrap_or_else(|error| panic!("{name}.toml: {error}"));
            assert_eq!(profile.name, *name);
        }
        let files = fs::read_dir("src/profile/devices").unwrap().count();
        assert_eq!(Catalogue::built_in().names().len(), files);
    }

    #[test]
    fn makers_and_sizes_differ_and_one_is_a_tablet() {
        let all = Catalogue::built_in();
        let sizes: std::collections::BTreeSet<_> = all
            .all()
            .map(|(p, _)| (p.screen.width, p.screen.height))
            .collect();
        assert!(sizes.len() >= 6, "{sizes:?}");
        assert_eq!(all.all().filter(|(p, _)| !p.is_mobile()).count(), 1);
    }

    #[test]
    fn the_default_is_a_phone_and_the_tablet_none() {
        let profile = Catalogue::built_in().default_profile();
        assert_eq!(
            profile.user_agent(156),
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/156.0.0.0 Mobile Safari/537.36"
        );
        assert_eq!(profile.device(156), "Android 10 - Chrome 156 (Mobile)");
        let tablet = Catalogue::built_in().named("pixel-tablet").unwrap();
        assert!(
            tablet
                .user_agent(156)
                .ends_with("Chrome/156.0.0.0 Safari/537.36")
        );
        assert_eq!(tablet.device(156), "Android 10 - Chrome 156 (Tablet)");
        let mut full = Profile::clone(&profile);
        full.identity.user_agent = super::super::UserAgentForm::Full;
        assert!(
            full.user_agent(156)
                .contains("(Linux; Android 14; SM-S911B)")
        );
    }

    #[test]
    fn a_directory_adds_to_what_is_built_in() {
        let mine = EMBEDDED[0]
            .1
            .replace("name = \"default\"", "name = \"mine\"");
        let (_dir, config) = written(&[("mine.toml", &mine), ("README.md", "not mine")]);
        let all = Catalogue::load(&config).unwrap();
        assert_eq!(all.names().len(), EMBEDDED.len() + 1);
        let (_, file) = all.all().find(|(p, _)| p.name == "mine").unwrap();
        assert!(file.unwrap().ends_with("mine.toml"));
        assert_eq!(
            Catalogue::load(&Config::default()).unwrap().names().len(),
            EMBEDDED.len()
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_file() {
        let said = |files: &[(&str, &str)]| {
            let (_dir, config) = written(files);
            Catalogue::load(&config).unwrap_err().to_string()
        };
        let text = EMBEDDED[0].1;
        let taken = said(&[("a.toml", text)]);
        assert!(
            taken.contains("a.toml: the name `default` is taken by a profile that"),
            "{taken}"
        );
        // Pool, events and metrics list a kind of device by its name.
        for kind in ["emulator", "redroid", "cuttlefish"] {
            let named = text.replace("name = \"default\"", &format!("name = \"{kind}\""));
            let taken = said(&[("a.toml", &named)]);
            let by = format!("the name `{kind}` is taken by the devices that `[substrate.{kind}]`");
            assert!(taken.contains(&by), "{taken}");
        }
        let mine = text.replace("name = \"default\"", "name = \"mine\"");
        let taken = said(&[("a.toml", &mine), ("b.toml", &mine)]);
        assert!(
            taken.contains("b.toml: the name `mine`") && taken.contains("/a.toml;"),
            "{taken}"
        );
        let wrong = said(&[(
            "a.toml",
            &mine.replace("touch_points = 5", "touch_points = 50"),
        )]);
        assert!(
            wrong.ends_with("a.toml: `input.touch_points` is 50, but must be between 1 and 16"),
            "{wrong}"
        );
        let nowhere = Config {
            dir: PathBuf::from("/nowhere/at/all"),
        };
        let gone = Catalogue::load(&nowhere).unwrap_err().to_string();
        assert!(gone.contains("/nowhere/at/all cannot be read"), "{gone}");
    }
}

//! Images: looked at, listed, imported from a tar of a root file system.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
};
use futures::StreamExt;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::{Docker, DockerError, LOOK, unsigned, within};

/// Unpacking a gigabyte on a slow disk.
const IMPORT: Duration = Duration::from_secs(900);

/// An image on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// `sha256:…`.
    pub id: String,
    /// `name:tag`, one for each name that it has.
    pub names: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes on disk.
    pub size: u64,
    /// When it was made: RFC 3339, or seconds since the epoch where Docker lists.
    pub created: String,
}

impl Docker {
    /// An image by name; `None` where there is none.
    ///
    /// # Errors
    /// [`DockerError`] for every way the question itself can fail.
    pub async fn image(&self, name: &str) -> Result<Option<ImageFacts>, DockerError> {
        let work = self.engine.inspect_image(name);
        match self.call("image", name, LOOK, work).await {
            Ok(seen) => Ok(Some(ImageFacts {
                id: seen.id.unwrap_or_default(),
                names: seen.repo_tags.unwrap_or_default(),
                labels: seen
                    .config
                    .and_then(|config| config.labels)
                    .unwrap_or_default()
                    .into_iter()
                    .collect(),
                size: seen.size.map_or(0, unsigned),
                created: seen.created.map_or_else(String::new, |at| at.clone()),
            })),
            Err(DockerError::ImageMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every image with a label (`key` or `key=value`), or every image.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn images(&self, label: Option<&str>) -> Result<Vec<ImageFacts>, DockerError> {
        let mut options = ListImagesOptionsBuilder::new();
        if let Some(label) = label {
            options = options.filters(&[("label", vec![label])].into());
        }
        let work = self.engine.list_images(Some(options.build()));
        let found = self.call("images", &self.socket, LOOK, work).await?;
        let facts = |seen: bollard::models::ImageSummary| ImageFacts {
            id: seen.id,
            names: seen.repo_tags,
            labels: seen.labels.into_iter().collect(),
            size: unsigned(seen.size),
            created: seen.created.to_string(),
        };
        Ok(found.into_iter().map(facts).collect())
    }

    /// Makes an image of a root file system in a tar. `changes` are Dockerfile instructions such as
    /// `USER 1000`; `sent` is told the bytes handed over so far.
    ///
    /// # Errors
    /// [`DockerError::Refused`] where the file cannot be read, and every way Docker can fail.
    pub async fn import_image(
        &self,
        tar: &Path,
        (repo, tag): (&str, &str),
        changes: &[String],
        sent: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(), DockerError> {
        let file = File::open(tar)
            .await
            .map_err(|error| DockerError::Refused {
                call: "import",
                message: format!("{}: {error}", tar.display()),
            })?;
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(changes.to_vec())
            .build();
        let mut total = 0;
        let chunks = ReaderStream::with_capacity(file, 1 << 18).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                total += chunk.len() as u64;
                sent(total);
            }
        });
        let engine = self.engine.clone().with_timeout(IMPORT);
        let body = bollard::body_try_stream(chunks);
        let mut progress = engine.create_image(Some(options), Some(body), None);
        let read = async {
            while let Some(step) = progress.next().await {
                step.map_err(|error| DockerError::read("import", &self.socket, repo, error))?;
            }
            Ok(())
        };
        within("import", IMPORT, read).await?
    }

    /// Brings an image of this engine, with its name, to `other`; one that is the same there is left
    /// alone.
    ///
    /// # Errors
    /// [`DockerError::ImageMissing`] where this engine does not have it, and every way either can fail.
    pub async fn copy_image(&self, name: &str, other: &Self) -> Result<(), DockerError> {
        let missing = || DockerError::ImageMissing {
            image: name.to_owned(),
        };
        let here = self.image(name).await?.ok_or_else(missing)?;
        let there = other.image(name).await?;
        if there.is_some_and(|there| there.id == here.id) {
            return Ok(());
        }
        let from = self.engine.clone().with_timeout(IMPORT);
        let chunks = from.export_image(name);
        let to = other.engine.clone().with_timeout(IMPORT);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut progress = to.import_image_stream(options, chunks, None);
        let read = async {
            while let Some(step) = progress.next().await {
                step.map_err(|error| DockerError::read("load", &other.socket, name, error))?;
            }
            Ok(())
        };
        within("load", IMPORT, read).await?
    }
}

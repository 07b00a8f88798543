//! What instances are made from: the image, as it was known last, and everything else as one hash.

use sha2::{Digest, Sha256};

use super::{StartError, Tools};
use crate::{
    docker::{DockerError, ImageFacts},
    model::Substrate,
    profile::Profile,
};

impl Tools {
    /// The configured image; Docker is asked where it is not known yet.
    pub(super) async fn image(&self) -> Result<ImageFacts, StartError> {
        if let Some(known) = self.image.lock().clone() {
            return Ok(known);
        }
        let name = &self.config.image;
        let seen = self.docker.image(name).await?;
        let seen = seen.ok_or_else(|| DockerError::ImageMissing {
            image: name.clone(),
        })?;
        *self.image.lock() = Some(seen.clone());
        Ok(seen)
    }

    /// The image of a device; Docker is asked each time, which is nothing beside a boot.
    pub(super) async fn device_image(&self, name: &str) -> Result<ImageFacts, StartError> {
        let seen = self.docker.image(name).await?;
        let missing = || DockerError::ImageMissing {
            image: name.to_owned(),
        };
        Ok(seen.ok_or_else(missing)?)
    }

    /// What is known of the image is not so any more.
    pub(super) fn forget_image(&self) {
        *self.image.lock() = None;
    }

    /// Hash of all that makes an instance of `profile` what it is, beside its image: the profile, the
    /// limits, of a device all that is said of it, and this program.
    #[must_use]
    pub fn recipe(&self, substrate: Substrate, profile: &Profile) -> String {
        let mut hash = Sha256::new();
        // Plain data: writing it as JSON cannot fail, and an empty profile is only another recipe.
        hash.update(serde_json::to_vec(profile).unwrap_or_default());
        hash.update(format!("{:?}", self.config));
        hash.update(format!("{:?}", self.devices.settled(substrate)));
        hash.update(env!("CARGO_PKG_VERSION"));
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

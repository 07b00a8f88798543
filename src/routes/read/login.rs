//! The login of a route that has an upstream.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{At, Refused, Table, secret, template};

impl Table {
    pub(super) const fn names_a_user(&self) -> bool {
        !self.username.is_empty()
            || self.username_file.is_some()
            || self.username_credential.is_some()
    }

    pub(super) const fn names_a_password(&self) -> bool {
        self.password_file.is_some() || self.password_credential.is_some()
    }

    /// User and password, as templates; `None` where neither is named.
    pub(super) fn login(&self) -> Result<Option<(SecretString, SecretString)>, Refused> {
        if !self.names_a_user() {
            let alone = "needs a `username` beside it";
            self.require(!self.names_a_password(), "password_file", alone)?;
            return Ok(None);
        }
        let user = match &*self.username {
            "" => {
                let file = self.username_file.as_deref();
                let keys = ["username_file", "username_credential"];
                self.secret(keys, (file, self.username_credential.as_deref()))?
            }
            written => {
                let also = self.username_file.is_some() || self.username_credential.is_some();
                self.require(!also, "username", "is named twice")?;
                written.to_owned().into()
            }
        };
        let password = if self.names_a_password() {
            let file = self.password_file.as_deref();
            let keys = ["password_file", "password_credential"];
            self.secret(keys, (file, self.password_credential.as_deref()))?
        } else {
            SecretString::default()
        };
        for (key, text) in [("username", &user), ("password_file", &password)] {
            if let Some(hole) = template::unknown_hole(text.expose_secret()) {
                // The hole's own word is no secret; what stands around it may be.
                let problem = format!("has a hole that nothing fills: {hole}");
                let shown = if key == "username" {
                    problem
                } else {
                    "has a hole that nothing fills".to_owned()
                };
                return Err(self.wrong(key, shown));
            }
        }
        let colon = user.expose_secret().contains(':');
        self.require(
            !colon,
            "username",
            "must have no colon: Basic credentials end it there",
        )?;
        Ok(Some((user, password)))
    }

    fn secret(
        &self,
        [in_file, as_credential]: [&'static str; 2],
        places: (Option<&Path>, Option<&str>),
    ) -> Result<SecretString, Refused> {
        let (key, place) = match places {
            (Some(file), None) => (in_file, At::File(file)),
            (None, Some(credential)) => (as_credential, At::Credential(credential)),
            (Some(_), Some(_)) => return Err(self.wrong(in_file, "is named twice")),
            (None, None) => return Err(self.wrong(in_file, "is missing")),
        };
        secret::read(place).map_err(|problem| self.wrong(key, format!("is no use: {problem}")))
    }
}

//! Who we are to Dropbox: a refresh token and the app it was given to, from the environment or from
//! a file that nobody else can read. Nothing here ever prints a secret.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

const REFRESH_TOKEN: &str = "HURACAN_DROPBOX_REFRESH_TOKEN";
const APP_KEY: &str = "HURACAN_DROPBOX_APP_KEY";
const APP_SECRET: &str = "HURACAN_DROPBOX_APP_SECRET";

/// A refresh token with its app. `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub(super) refresh_token: String,
    pub(super) app_key: String,
    pub(super) app_secret: Option<String>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A variable that is needed is missing, empty or not text.
    #[error("environment variable {name} is missing or empty; it must hold the Dropbox {what}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it must hold.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the Dropbox credentials in {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error(
        "the Dropbox credentials in {path} have mode {mode:04o}, expected 0600: others could read them; \
         run chmod 600 on the file, and renew the token if others use this machine"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is not what it should be. What it says is not repeated.
    #[error(
        "{path} is not a Dropbox credentials file: expected JSON with the texts refresh_token, app_key \
         and, unless the app uses PKCE, app_secret, none of them empty (line {line})"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        line: usize,
    },
}

impl Credentials {
    /// Credentials as given. An app that was authorized with PKCE has no secret.
    pub fn new(
        refresh_token: impl Into<String>,
        app_key: impl Into<String>,
        app_secret: Option<String>,
    ) -> Credentials {
        Credentials { refresh_token: refresh_token.into(), app_key: app_key.into(), app_secret }
    }

    /// From `HURACAN_DROPBOX_REFRESH_TOKEN`, `HURACAN_DROPBOX_APP_KEY` and, where the app has one,
    /// `HURACAN_DROPBOX_APP_SECRET`.
    ///
    /// # Errors
    /// [`CredentialsError::Variable`] when one of the first two is missing or empty.
    pub fn from_env() -> Result<Credentials, CredentialsError> {
        Credentials::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
        let value = |name| read(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let needed = |name, what| value(name).ok_or(CredentialsError::Variable { name, what });
        Ok(Credentials {
            refresh_token: needed(REFRESH_TOKEN, "refresh token")?,
            app_key: needed(APP_KEY, "app key")?,
            app_secret: value(APP_SECRET),
        })
    }

    /// From a JSON file with `refresh_token`, `app_key` and `app_secret`, readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be read, can be read by others, or is not such a file.
    pub fn from_file(path: &Path) -> Result<Credentials, CredentialsError> {
        let unreadable = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
        let mut file = fs::File::open(path).map_err(unreadable)?;
        // Asked of the opened file, so that it cannot be exchanged in between.
        let mode = mode_of(&file.metadata().map_err(unreadable)?);
        if mode & 0o077 != 0 {
            return Err(CredentialsError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let malformed = |line| CredentialsError::Malformed { path: path.to_owned(), line };
        // serde's own message may quote the text, which is secret.
        let read: Credentials = serde_json::from_str(&text).map_err(|error| malformed(error.line()))?;
        let empty = read.refresh_token.is_empty() || read.app_key.is_empty();
        if empty || read.app_secret.as_deref() == Some("") { Err(malformed(1)) } else { Ok(read) }
    }

    /// Takes every secret out of a text of the service before it is shown.
    pub(super) fn scrub(&self, text: &str) -> String {
        let secrets = [Some(self.refresh_token.as_str()), self.app_secret.as_deref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

#[cfg(unix)]
fn mode_of(found: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o7777
}

/// Elsewhere the owner of a file is not a matter of mode bits.
#[cfg(not(unix))]
fn mode_of(_found: &fs::Metadata) -> u32 {
    0o600
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("refresh_token", &"***")
            .field("app_key", &self.app_key)
            .field("app_secret", &self.app_secret.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_needs_a_token_and_a_key() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            Credentials::from_variables(|name| {
                pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.clone())
            })
        };
        let found = read(&[(REFRESH_TOKEN, "hush\n"), (APP_KEY, "key"), (APP_SECRET, "")]).unwrap();
        assert_eq!(found, Credentials::new("hush", "key", None));
        let error = read(&[(REFRESH_TOKEN, "hush"), (APP_KEY, " ")]).unwrap_err().to_string();
        assert!(error.contains(APP_KEY) && !error.contains("hush"), "{error}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let credentials = Credentials::new("hush", "key", Some("quiet".into()));
        let shown = format!("{credentials:?}");
        assert!(shown.contains("***") && !shown.contains("hush") && !shown.contains("quiet"), "{shown}");
        assert_eq!(credentials.scrub("token hush of quiet"), "token *** of ***");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dropbox.json");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let good = r#"{"refresh_token": "hush", "app_key": "key", "app_secret": "quiet"}"#;
        write(good, 0o600);
        let found = Credentials::from_file(&path).unwrap();
        assert_eq!(found, Credentials::new("hush", "key", Some("quiet".into())));
        write(good, 0o640);
        let error = Credentials::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640, expected 0600") && error.contains("chmod 600"), "{error}");
        for text in ["hush", r#"{"refresh_token": "hush"}"#, r#"{"refresh_token": "", "app_key": "key"}"#] {
            write(text, 0o600);
            let error = Credentials::from_file(&path).unwrap_err();
            assert!(matches!(error, CredentialsError::Malformed { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
}

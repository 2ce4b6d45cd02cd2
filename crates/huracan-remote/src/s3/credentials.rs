//! Where the keys come from. They are never logged, shown or put into an error.

use std::fmt;
use std::path::Path;

use super::S3ConfigError;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// An access key with its secret and, for temporary ones, the session's token.
#[derive(Clone)]
pub struct Credentials(rusty_s3::Credentials);

impl Credentials {
    /// Keys that are at hand already.
    pub fn new(
        key_id: impl Into<String>,
        secret: impl Into<String>,
        session_token: Option<String>,
    ) -> Credentials {
        Credentials(match session_token {
            Some(token) => rusty_s3::Credentials::new_with_token(key_id, secret, token),
            None => rusty_s3::Credentials::new(key_id, secret),
        })
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where it is set, `AWS_SESSION_TOKEN`, as `var`
    /// (in a program `|name| std::env::var(name).ok()`) tells them.
    ///
    /// # Errors
    /// When one of the first two is missing or empty.
    pub fn from_environment(var: impl Fn(&str) -> Option<String>) -> Result<Credentials, S3ConfigError> {
        let read = |name: &str| var(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let needed = |name: &str| {
            read(name).ok_or_else(|| S3ConfigError::Credentials {
                place: name.to_owned(),
                reason: "it is not set".to_owned(),
            })
        };
        Ok(Credentials::new(needed(KEY_ID)?, needed(SECRET)?, read(TOKEN)))
    }

    /// A file as the AWS tools write it: `aws_access_key_id = …` and so on below `[profile]`.
    ///
    /// # Errors
    /// When it cannot be read, may be read by others (expected mode 0600), or has no such keys.
    pub fn from_file(file: &Path, profile: &str) -> Result<Credentials, S3ConfigError> {
        let failed =
            |reason: String| S3ConfigError::Credentials { place: file.display().to_string(), reason };
        private(file).map_err(failed)?;
        let text =
            std::fs::read_to_string(file).map_err(|error| failed(format!("cannot read it: {error}")))?;
        let mut inside = false;
        let mut keys = [None, None, None];
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name.trim() == profile;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
                let known = [KEY_ID, SECRET, TOKEN].iter().position(|k| k.eq_ignore_ascii_case(name.trim()));
                if let Some(known) = known {
                    keys[known] = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
                }
            }
        }
        match keys {
            [Some(key_id), Some(secret), token] => Ok(Credentials::new(key_id, secret, token)),
            _ => {
                Err(failed(format!("expected aws_access_key_id and aws_secret_access_key below [{profile}]")))
            }
        }
    }

    pub(super) fn signing(&self) -> &rusty_s3::Credentials {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

#[cfg(unix)]
fn private(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = std::fs::metadata(file).map_err(|error| format!("cannot look at it: {error}"))?;
    match found.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(format!("its mode is {mode:04o}, expected 0600 so that nobody else reads it")),
    }
}

/// Elsewhere permissions are not told in three digits.
#[cfg(not(unix))]
fn private(_file: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_needs_key_and_secret() {
        let all = |name: &str| Some(format!(" {name}-value\n"));
        let found = Credentials::from_environment(all).unwrap();
        assert_eq!(found.signing().key(), "AWS_ACCESS_KEY_ID-value");
        assert_eq!(found.signing().token(), Some("AWS_SESSION_TOKEN-value"));
        let error = Credentials::from_environment(|name| (name == KEY_ID).then(|| "id".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "S3 credentials from AWS_SECRET_ACCESS_KEY are not usable: it is not set"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let found = Credentials::new("key-id", "hush", Some("token".into()));
        assert_eq!(format!("{found:?}"), "Credentials(***)");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_when_it_is_nobody_elses_business() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "# keys\n[other]\naws_access_key_id = no\naws_secret_access_key = no\n\
                    [default]\naws_access_key_id = id\naws_secret_access_key=a/b+c=\n";
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Credentials::from_file(&file, "default").unwrap_err().to_string();
        assert!(error.ends_with("its mode is 0640, expected 0600 so that nobody else reads it"), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let found = Credentials::from_file(&file, "default").unwrap();
        assert_eq!((found.signing().key(), found.signing().secret()), ("id", "a/b+c="));
        assert_eq!(found.signing().token(), None);
        let error = Credentials::from_file(&file, "none").unwrap_err();
        assert!(error.to_string().contains("below [none]") && error.code() == "s3_credentials");
    }
}

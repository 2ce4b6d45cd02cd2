//! Where results are kept, as meant: the place, the folder runs work in, and how a remote is reached.
//!
//! What lives here: words and rules of the `store` group. What does not: opening anything, and secrets,
//! which are no settings.

use super::layers::{Effective, Problem};
use super::meant::problem;
use huracan_store::sha256_hex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place for results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A folder of this machine, or one mounted on it.
    Folder(PathBuf),
    /// A bucket of S3 or of a service that speaks its language.
    S3 {
        /// The bucket.
        bucket: String,
        /// Path in the bucket, without slashes around it; may be empty.
        prefix: String,
    },
    /// A folder of a Dropbox.
    Dropbox {
        /// The folder, `/`-separated, with a leading and without a trailing slash; `/` is all of it.
        folder: String,
    },
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no place for results: {reason}")]
pub struct InvalidUrl {
    text: String,
    reason: &'static str,
}

impl FromStr for StoreUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<StoreUrl, InvalidUrl> {
        let invalid = |reason| Err(InvalidUrl { text: text.to_owned(), reason });
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let fits =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
            return match (bucket.len(), clean_path(prefix)) {
                (3..=63, Some(prefix)) if bucket.bytes().all(fits) => {
                    Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix })
                }
                _ => invalid("expected s3://BUCKET or s3://BUCKET/PREFIX"),
            };
        }
        if let Some(rest) = text.strip_prefix("dropbox:") {
            return match (rest.starts_with('/') && !rest.starts_with("//"), clean_path(rest)) {
                (true, Some(folder)) => Ok(StoreUrl::Dropbox { folder: format!("/{folder}") }),
                _ => invalid("expected dropbox:/FOLDER"),
            };
        }
        if text.trim().is_empty() {
            return invalid("it is empty, expected a folder, s3://BUCKET/PREFIX or dropbox:/FOLDER");
        }
        // One letter before a colon is a drive.
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
        match is_scheme {
            true => invalid(
                "expected a folder, s3://BUCKET/PREFIX or dropbox:/FOLDER (./ before a folder's name with a colon)",
            ),
            false => Ok(StoreUrl::Folder(PathBuf::from(text))),
        }
    }
}

/// A path without slashes around it; `None` where a part is empty, or leads upwards.
fn clean_path(text: &str) -> Option<String> {
    let text = text.trim_matches('/');
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control);
    (text.is_empty() || text.split('/').all(plain)).then(|| text.to_owned())
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Folder(folder) => write!(f, "{}", folder.display()),
            StoreUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StoreUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            StoreUrl::Dropbox { folder } => write!(f, "dropbox:{folder}"),
        }
    }
}

/// Where results are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StorePlan {
    /// The place.
    pub url: StoreUrl,
    /// The folder runs work in; the place itself, where that is a folder and nobody says another.
    pub local: PathBuf,
    /// How often a request is made before its failure is believed.
    pub attempts_max: u32,
    /// Seconds after which no request is made again.
    pub retry_s_max: f64,
    /// How S3 is reached.
    pub s3: S3Plan,
    /// How Dropbox is reached.
    pub dropbox: DropboxPlan,
}

/// How S3 is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Plan {
    /// Base URL; `None` is Amazon's of the region.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: String,
    /// Whether the bucket is part of the path and not of the host.
    pub path_style: bool,
}

/// How Dropbox is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropboxPlan {
    /// Base URL of the API.
    pub api_url: String,
    /// Base URL of uploads and downloads.
    pub content_url: String,
    /// URL that hands out access tokens.
    pub token_url: String,
}

impl StorePlan {
    /// Whether what a run leaves in [`StorePlan::local`] has to be carried elsewhere.
    pub fn is_carried(&self) -> bool {
        self.url != StoreUrl::Folder(self.local.clone())
    }
}

/// Reads the `store` group as meant. `state_folder` is where working folders of remote stores go that
/// nobody names.
///
/// # Errors
/// Every rule that is broken.
pub(super) fn mean(effective: &Effective, state_folder: Option<&Path>) -> Result<StorePlan, Vec<Problem>> {
    let written = &effective.written.store;
    let mut problems = Vec::new();
    let mut broken = |path: &str, message: String| {
        problems.push(problem(effective, "store_place", path, message));
    };
    let urls = [
        ("store.s3.endpoint", written.s3.endpoint.as_deref()),
        ("store.dropbox.api_url", Some(written.dropbox.api_url.as_str())),
        ("store.dropbox.content_url", Some(written.dropbox.content_url.as_str())),
        ("store.dropbox.token_url", Some(written.dropbox.token_url.as_str())),
    ];
    for (path, url) in urls {
        if let Some(reason) = url.and_then(not_a_base_url) {
            broken(path, format!("{path}: {reason}"));
        }
    }
    let url = match written.url.parse::<StoreUrl>() {
        Ok(url) => url,
        Err(error) => {
            broken("store.url", format!("store.url: {error}"));
            return Err(problems);
        }
    };
    let named = written.local.as_deref().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let local = match (&url, named, state_folder) {
        (_, Some(folder), _) => folder,
        (StoreUrl::Folder(folder), None, _) => folder.clone(),
        (_, None, Some(state)) => state.join("huracan").join("stores").join(folder_name(&url)),
        (_, None, None) => {
            let message = format!(
                "store.local is null and this user has no folder for programs (no XDG_STATE_HOME, no HOME), \
                 expected the folder to work in before results go to {url}"
            );
            broken("store.local", message);
            PathBuf::new()
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(StorePlan {
        url,
        local,
        attempts_max: u32::try_from(written.attempts_max).unwrap_or(u32::MAX),
        retry_s_max: written.retry_s_max,
        s3: S3Plan {
            endpoint: written.s3.endpoint.clone(),
            region: written.s3.region.clone(),
            path_style: written.s3.path_style,
        },
        dropbox: DropboxPlan {
            api_url: written.dropbox.api_url.clone(),
            content_url: written.dropbox.content_url.clone(),
            token_url: written.dropbox.token_url.clone(),
        },
    })
}

/// What is wrong with a base URL; never says the URL, which may hold what should not be in it.
fn not_a_base_url(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        None => Some("expected a URL that begins with https:// or http://"),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some("the URL names no host"),
        Some(rest) if rest.contains('@') => {
            Some("the URL holds a name or password, expected those in the environment")
        }
        Some(_) => None,
    }
}

/// A folder's name for a remote place: what a person recognises, and a hash that no other place shares.
fn folder_name(url: &StoreUrl) -> String {
    let text = url.to_string();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    let readable: String = text.chars().map(plain).take(60).collect();
    format!("{}-{}", readable.trim_matches('-'), &sha256_hex(text.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Sources, load};

    fn plan(text: &str) -> Result<StorePlan, ConfigError> {
        let state_folder = Some(PathBuf::from("/home/a/.local/state"));
        let sources = Sources { file: Some(("h.yaml", text)), state_folder, ..Sources::default() };
        load(&sources, 1).map(|loaded| loaded.store)
    }

    #[test]
    fn places_are_read_and_written_the_same() {
        let check = |text: &str, expected: StoreUrl| {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((&url, url.to_string().as_str()), (&expected, text));
        };
        check("huracan-store", StoreUrl::Folder("huracan-store".into()));
        check("/data/a b", StoreUrl::Folder("/data/a b".into()));
        check("C:\\store", StoreUrl::Folder("C:\\store".into()));
        check("s3://bucket", StoreUrl::S3 { bucket: "bucket".into(), prefix: String::new() });
        check("s3://bucket/a/b", StoreUrl::S3 { bucket: "bucket".into(), prefix: "a/b".into() });
        check("dropbox:/Huracan", StoreUrl::Dropbox { folder: "/Huracan".into() });
        assert_eq!("s3://bucket/a/".parse::<StoreUrl>(), "s3://bucket/a".parse());
        assert_eq!("dropbox:/".parse(), Ok(StoreUrl::Dropbox { folder: "/".into() }));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            " ",
            "s3://",
            "s3://B/x",
            "s3://bucket/../x",
            "s3://a b",
            "dropbox:Huracan",
            "dropbox://x",
            "dropbox:/a/../b",
            "memory:",
            "gs://bucket",
            "https://example.org",
        ] {
            assert!(text.parse::<StoreUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_folder_is_its_own_working_folder_unless_another_is_named() {
        let own = plan("").unwrap();
        assert_eq!((own.local.to_str(), own.is_carried()), (Some("huracan-store"), false));
        let mounted = plan("store: {url: /mnt/nas/huracan, local: work}").unwrap();
        assert_eq!((mounted.local.to_str(), mounted.is_carried()), (Some("work"), true));
    }

    #[test]
    fn a_remote_place_has_a_folder_of_its_own_below_the_users_state() {
        let local = |text: &str| plan(text).unwrap().local;
        let one = local("store: {url: \"s3://bucket/prod\"}");
        assert!(one.starts_with("/home/a/.local/state/huracan/stores"), "{one:?}");
        assert!(one.file_name().unwrap().to_str().unwrap().starts_with("s3---bucket-prod-"), "{one:?}");
        assert_ne!(one, local("store: {url: \"s3://bucket/prod/\", local: null}").join("x"));
        assert_ne!(
            one,
            local("store: {url: \"s3://bucket-prod\"}"),
            "names that look the same are told apart"
        );
        let homeless = Sources { file: Some(("h", "store: {url: \"dropbox:/H\"}")), ..Sources::default() };
        let error = load(&homeless, 1).unwrap_err();
        assert!(error.to_string().contains("store.local is null"), "{error}");
    }

    #[test]
    fn addresses_without_a_host_or_with_a_password_are_refused_without_being_repeated() {
        for text in ["ftp://x", "https://", "https://me:secret@host"] {
            let error = plan(&format!("store: {{s3: {{endpoint: \"{text}\"}}}}")).unwrap_err();
            assert_eq!(error.problems[0].code, "store_place");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(plan("store: {s3: {endpoint: \"http://127.0.0.1:9000\", path_style: true}}").is_ok());
    }
}

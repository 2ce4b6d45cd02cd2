//! What can go wrong between us and the exchange, one variant for each thing a caller treats
//! differently. A file that is not published is an outcome, not an error, and is not here.

use std::path::PathBuf;

/// Why a fetch, or one file of it, did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The plan contradicts itself; nothing was requested.
    #[error("{0}")]
    BadPlan(String),
    /// Another fetch works in the same destination.
    #[error("{path} is held by another fetch; wait for it to end or choose another destination")]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No TLS provider was installed in this process, so no client can be built.
    #[error("no TLS provider is installed; install rustls' ring provider before fetching")]
    NoTlsProvider,
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built: {0}")]
    Client(#[source] reqwest::Error),
    /// No connection, a timeout, or a body that broke off.
    #[error("{url} could not be read: {}", root_cause(.source))]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the transport said.
        source: reqwest::Error,
    },
    /// The server failed (5xx, 408).
    #[error("{url} answered {status}, expected 200")]
    Server {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server asked us to slow down (429) or shut us out (418).
    #[error("{url} answered {status}, asking for a pause of {retry_after_s} s")]
    Throttled {
        /// What was asked for.
        url: String,
        /// 429 or 418.
        status: u16,
        /// The pause it asked for, in seconds.
        retry_after_s: u64,
    },
    /// The server wants a longer pause than a fetch waits out; nothing more is sent to it.
    #[error("{url} was not asked: the server shut us out for another {wait_s} s; run again after that")]
    ShutOut {
        /// What would have been asked for.
        url: String,
        /// What is left of the pause, in seconds.
        wait_s: u64,
    },
    /// The server understood and said no (4xx other than 404, 408, 418, 429).
    #[error("{url} answered {status}: {said}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The first words of the answer.
        said: String,
    },
    /// The exchange does not list the symbol (any more).
    #[error("{symbol} is not listed at the exchange; check the spelling and the market")]
    NotListed {
        /// The symbol, with `.P` for a perpetual.
        symbol: String,
    },
    /// The bytes are not the ones their `.CHECKSUM` names.
    #[error("{url} has sha256 {found}, its .CHECKSUM says {expected}")]
    Checksum {
        /// The zip.
        url: String,
        /// SHA-256 of what arrived.
        found: String,
        /// What the `.CHECKSUM` file says.
        expected: String,
    },
    /// A zip without its `.CHECKSUM`: it cannot be verified and is not taken.
    #[error("{url} has no .CHECKSUM beside it and cannot be verified")]
    NoChecksum {
        /// The zip.
        url: String,
    },
    /// A zip that is verified and yet not what its name says.
    #[error("{url} is not a usable candle archive: {why}")]
    BadZip {
        /// The zip.
        url: String,
        /// What was found and what was expected.
        why: String,
    },
    /// An answer that is not of the documented form.
    #[error("{url} gave an unexpected answer: {why}")]
    BadAnswer {
        /// What was asked for.
        url: String,
        /// What was found and what was expected.
        why: String,
    },
    /// A file we wrote earlier no longer reads.
    #[error("{path} line {line}: {why}; delete the file to fetch it again")]
    BadCsv {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was found and what was expected.
        why: String,
    },
    /// The caller asked to stop.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// A broken promise of ours, fenced to the file or symbol it happened in.
    #[error("the work on {what} panicked; this is a bug, please report it")]
    Bug {
        /// The file or symbol.
        what: String,
    },
}

impl FetchError {
    /// Stable code for files and scripts; never reworded.
    pub fn code(&self) -> &'static str {
        match self {
            FetchError::BadPlan(_) => "bad_plan",
            FetchError::Busy { .. } => "busy",
            FetchError::Io { .. } => "io",
            FetchError::NoTlsProvider => "no_tls_provider",
            FetchError::Client(_) => "http_client",
            FetchError::Unreachable { .. } => "unreachable",
            FetchError::Server { .. } => "server_error",
            FetchError::Throttled { .. } => "throttled",
            FetchError::ShutOut { .. } => "shut_out",
            FetchError::Refused { .. } => "refused",
            FetchError::NotListed { .. } => "not_listed",
            FetchError::Checksum { .. } => "checksum_mismatch",
            FetchError::NoChecksum { .. } => "no_checksum",
            FetchError::BadZip { .. } => "bad_zip",
            FetchError::BadAnswer { .. } => "bad_answer",
            FetchError::BadCsv { .. } => "bad_csv",
            FetchError::Cancelled => "cancelled",
            FetchError::Bug { .. } => "bug",
        }
    }

    /// Whether the same request may succeed when it is sent again.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            FetchError::Unreachable { .. }
                | FetchError::Server { .. }
                | FetchError::Throttled { .. }
                | FetchError::Checksum { .. }
                | FetchError::NoChecksum { .. }
                | FetchError::BadZip { .. }
                | FetchError::BadAnswer { .. }
        )
    }
}

/// The innermost cause: reqwest's own sentence repeats the URL and hides the reason.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

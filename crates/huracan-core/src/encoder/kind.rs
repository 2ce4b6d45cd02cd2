//! The kinds of encoder there are, as words.

use std::{fmt, str::FromStr};

/// Which kind of encoder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum EncoderKind {
    /// Principal components.
    Pca,
    /// Reduced-rank regression of labels on features.
    Rrr,
    /// Denoising autoencoder.
    Autoencoder,
}

/// A word that names no kind of encoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("encoder type {found:?} is not known, expected pca, rrr or autoencoder")]
pub struct UnknownEncoder {
    /// The word.
    pub found: String,
}

impl EncoderKind {
    /// Every kind.
    pub const ALL: [EncoderKind; 3] = [EncoderKind::Pca, EncoderKind::Rrr, EncoderKind::Autoencoder];

    /// The word written in files.
    pub fn code(self) -> &'static str {
        match self {
            EncoderKind::Pca => "pca",
            EncoderKind::Rrr => "rrr",
            EncoderKind::Autoencoder => "autoencoder",
        }
    }
}

impl fmt::Display for EncoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for EncoderKind {
    type Err = UnknownEncoder;

    fn from_str(word: &str) -> Result<EncoderKind, UnknownEncoder> {
        let known = EncoderKind::ALL.into_iter().find(|kind| kind.code() == word);
        known.ok_or_else(|| UnknownEncoder { found: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in EncoderKind::ALL {
            assert_eq!(kind.code().parse(), Ok(kind));
        }
        assert!("PCA".parse::<EncoderKind>().is_err());
    }
}

//! Seeds: every random draw in Huracan starts from one of these, named by what it is for.

use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

/// The origin of a reproducible stream of random numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed for one named purpose and index; different purposes never share a stream.
    pub fn child(self, purpose: &str, index: u64) -> Seed {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update((purpose.len() as u64).to_le_bytes());
        hash.update(purpose.as_bytes());
        hash.update(index.to_le_bytes());
        let digest = hash.finalize();
        let mut first = [0_u8; 8];
        first.copy_from_slice(&digest[..8]);
        Seed(u64::from_le_bytes(first))
    }

    /// The generator that starts here.
    pub fn rng(self) -> StdRng {
        StdRng::seed_from_u64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn a_seed_always_gives_the_same_stream_and_purposes_differ() {
        let draw = |seed: Seed| seed.rng().random::<u64>();
        assert_eq!(draw(Seed(1).child("noise", 3)), draw(Seed(1).child("noise", 3)));
        assert_ne!(draw(Seed(1).child("noise", 3)), draw(Seed(1).child("noise", 4)));
        assert_ne!(draw(Seed(1).child("noise", 3)), draw(Seed(1).child("signs", 3)));
    }
}

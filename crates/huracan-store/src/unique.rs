//! Names that nothing else has.

use std::hash::{BuildHasher as _, RandomState};

/// A text of 32 hexadecimal digits that no other call, thread or machine makes. The standard library
/// seeds its hash tables from the system's randomness; that is enough where nobody guesses.
pub fn unique() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_equal() {
        let made: std::collections::BTreeSet<String> =
            (0..4).flat_map(|_| std::thread::spawn(|| [unique(), unique()]).join().unwrap()).collect();
        assert_eq!(made.len(), 8);
        assert!(made.iter().all(|text| text.len() == 32));
    }
}

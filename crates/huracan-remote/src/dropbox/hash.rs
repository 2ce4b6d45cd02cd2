//! The content hash by which Dropbox names bytes: SHA-256 over the SHA-256 of every 4 MiB block.

use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 4 << 20;

/// Dropbox's `content_hash` of these bytes, in lower-case hex.
pub fn content_hash(bytes: &[u8]) -> String {
    let mut whole = Sha256::new();
    for block in bytes.chunks(BLOCK_BYTES) {
        whole.update(Sha256::digest(block));
    }
    whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        Sha256::digest(bytes).to_vec()
    }

    fn check(bytes: &[u8], blocks: &[&[u8]]) {
        let joined: Vec<u8> = blocks.iter().flat_map(|block| sha256(block)).collect();
        let expected: String = sha256(&joined).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(content_hash(bytes), expected);
    }

    #[test]
    fn blocks_of_four_mebibytes_are_hashed_one_by_one() {
        let long: Vec<u8> = (0..2 * BLOCK_BYTES + 1).map(|i| (i % 251) as u8).collect();
        check(b"abc", &[b"abc"]);
        check(&long[..BLOCK_BYTES], &[&long[..BLOCK_BYTES]]);
        check(&long[..BLOCK_BYTES + 1], &[&long[..BLOCK_BYTES], &long[BLOCK_BYTES..BLOCK_BYTES + 1]]);
        check(&long, &[&long[..BLOCK_BYTES], &long[BLOCK_BYTES..2 * BLOCK_BYTES], &long[2 * BLOCK_BYTES..]]);
    }

    #[test]
    fn the_hash_of_nothing_is_the_hash_of_no_blocks() {
        assert_eq!(content_hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}

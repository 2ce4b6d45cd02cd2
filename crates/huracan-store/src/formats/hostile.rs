//! Hostile input: arbitrary and damaged bytes into every reader. They may be refused, never panic.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::golden::formats;

fn feed(bytes: &[u8]) {
    for format in formats() {
        if let Some(rewrite) = format.rewrite {
            // Whatever it makes of them, coming back is what is tested.
            let _ = rewrite(bytes);
        }
    }
}

#[test]
fn every_reader_refuses_the_files_of_the_others() {
    let all = formats();
    for reader in &all {
        let Some(rewrite) = reader.rewrite else { continue };
        for other in all.iter().filter(|other| other.name != reader.name) {
            let alike = reader.name.ends_with(".safetensors") && other.name == "model.bin";
            assert!(alike || rewrite(&other.bytes).is_err(), "{} reads {}", reader.name, other.name);
        }
    }
}

#[test]
fn every_document_refuses_a_newer_major() {
    for format in formats() {
        let Some(rewrite) = format.rewrite else { continue };
        let text = String::from_utf8_lossy(&format.bytes);
        if format.name == "model.bin" || format.name.ends_with(".safetensors") {
            continue;
        }
        let newer = text.replacen("/1\"", "/2\"", 1);
        assert_eq!(rewrite(newer.as_bytes()).unwrap_err().code(), "store_newer_format", "{}", format.name);
    }
}

#[test]
fn every_document_ignores_keys_it_does_not_know() {
    for format in formats() {
        let Some(rewrite) = format.rewrite.filter(|_| format.name.ends_with(".json")) else { continue };
        let text = String::from_utf8(format.bytes.clone()).unwrap();
        let grown = text.replacen("{\n", "{\n  \"later_addition\": {\"x\": [1, null]},\n", 1);
        assert!(rewrite(grown.as_bytes()).unwrap() == format.bytes, "{}", format.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        feed(&bytes);
    }

    #[test]
    fn damaged_files_never_panic(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for format in formats() {
            let Some(rewrite) = format.rewrite else { continue };
            let mut bytes = format.bytes;
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = rewrite(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = rewrite(&bytes);
        }
    }
}

//! Encoders: each kept for ever under its own id, and one of them in force.
//!
//! `meta/shared_encoder.json` is the pointer: it names the encoder in force, which is then read from
//! its own folder, so a reader never mixes the card of one with the tensors of another. The copies of
//! tensors and twin beside the pointer are for readers outside.

use crate::error::{Result, StoreError};
use crate::formats::encoder::{EncoderCard, EncoderFile};
use crate::formats::to_bytes;
use crate::path::StorePath;
use crate::store::Store;
use crate::typed;

const TENSORS: &str = "shared_encoder.safetensors";
const PICKLE: &str = "shared_encoder.pkl";
const CARD: &str = "shared_encoder.json";
const HELP: &str = "a head needs exactly its encoder; train again, or restore the folder";

fn folder_of(encoder_id: &str) -> Result<StorePath> {
    StorePath::new("meta/encoders")?.join(encoder_id)
}

/// Keeps an encoder under its id (without putting it in force). One that is there and whole stays as
/// it is: the id says that tensors and meaning are the same. Its twin is made good from it.
///
/// # Errors
/// `Refused` when the id is not the content's, and whatever the store refuses.
pub fn keep(store: &dyn Store, encoder: &EncoderFile) -> Result<()> {
    let folder = folder_of(&encoder.card.encoder_id)?;
    match load(store, &encoder.card.encoder_id) {
        Ok(kept) => {
            typed::settle(store, &folder.join(PICKLE)?, &kept.pickle_bytes()?)?;
            return Ok(());
        }
        Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    settle_all(store, &folder, encoder)?;
    load(store, &encoder.card.encoder_id).map(|_| ())
}

/// Keeps an encoder and puts it in force.
///
/// # Errors
/// As [`keep`].
pub fn publish(store: &dyn Store, encoder: &EncoderFile) -> Result<()> {
    keep(store, encoder)?;
    settle_all(store, &StorePath::new("meta")?, encoder)
}

/// Tensors, twin, and the card last.
fn settle_all(store: &dyn Store, folder: &StorePath, encoder: &EncoderFile) -> Result<()> {
    typed::settle(store, &folder.join(TENSORS)?, &encoder.tensor_bytes()?)?;
    typed::settle(store, &folder.join(PICKLE)?, &encoder.pickle_bytes()?)?;
    typed::settle(store, &folder.join(CARD)?, &to_bytes(&encoder.card)?)?;
    Ok(())
}

/// The encoder of that id, its tensors and meaning hashed again.
///
/// # Errors
/// `NotFound` when it is not kept, `Corrupt` when it is not what its id says.
pub fn load(store: &dyn Store, encoder_id: &str) -> Result<EncoderFile> {
    let folder = folder_of(encoder_id)?;
    let found = read_from(store, &folder)?;
    if found.card.encoder_id != encoder_id {
        return Err(StoreError::corrupt(folder, format!("it holds the encoder {}", found.card.encoder_id)));
    }
    Ok(found)
}

/// Card and tensors of a folder, hashed again.
fn read_from(store: &dyn Store, folder: &StorePath) -> Result<EncoderFile> {
    let card: EncoderCard = typed::require(store, &folder.join(CARD)?, HELP)?;
    let path = folder.join(TENSORS)?;
    let tensors = store.get(&path)?.ok_or(StoreError::NotFound { path: path.to_string(), help: HELP })?;
    EncoderFile::assemble(path, card, &tensors.bytes)
}

/// The encoder in force, or `None` when no run has published one.
///
/// # Errors
/// As [`load`], for the encoder the pointer names.
pub fn in_force(store: &dyn Store) -> Result<Option<EncoderFile>> {
    let pointer = typed::get::<EncoderCard>(store, &StorePath::new("meta")?.join(CARD)?)?;
    pointer.map(|(card, _)| load(store, &card.encoder_id)).transpose()
}

/// The encoder in force, and that everything that is kept of it is whole: its own folder, and for
/// readers outside the copies beside the pointer.
///
/// # Errors
/// As [`in_force`]; `NotFound` or `Corrupt` naming the copy that is not as it was written.
pub fn whole_in_force(store: &dyn Store) -> Result<Option<EncoderFile>> {
    let Some(kept) = in_force(store)? else { return Ok(None) };
    check_twin(store, &folder_of(&kept.card.encoder_id)?, &kept)?;
    let meta = StorePath::new("meta")?;
    check_twin(store, &meta, &read_from(store, &meta)?)?;
    Ok(Some(kept))
}

/// Makes the copies beside the pointer good again from the encoder that the pointer names; writes
/// nothing where they are whole.
///
/// # Errors
/// As [`in_force`], and what the store refuses.
pub fn mend_in_force(store: &dyn Store) -> Result<()> {
    let Some(kept) = in_force(store)? else { return Ok(()) };
    match whole_in_force(store) {
        Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => publish(store, &kept),
        other => other.map(|_| ()),
    }
}

fn check_twin(store: &dyn Store, folder: &StorePath, encoder: &EncoderFile) -> Result<()> {
    let path = folder.join(PICKLE)?;
    let found = store.get(&path)?.ok_or(StoreError::NotFound { path: path.to_string(), help: HELP })?;
    if found.bytes == encoder.pickle_bytes()? {
        return Ok(());
    }
    let id = &encoder.card.encoder_id;
    Err(StoreError::corrupt(path, format!("it is not the twin of encoder {id}, which lies beside it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;
    use crate::store::PutMode;

    #[test]
    fn the_encoder_in_force_survives_bit_for_bit() {
        let store = MemoryStore::default();
        assert_eq!(in_force(&store).unwrap(), None);
        publish(&store, &samples::encoder()).unwrap();
        assert_eq!(in_force(&store).unwrap(), Some(samples::encoder()));
        let names: Vec<String> = store.list(None).unwrap().iter().map(|e| e.path.to_string()).collect();
        assert_eq!(names.len(), 6, "{names:?}");
    }

    #[test]
    fn the_same_encoder_fitted_later_keeps_its_first_card() {
        let store = MemoryStore::default();
        publish(&store, &samples::encoder()).unwrap();
        let mut later = samples::encoder();
        later.card.trained_at = later.card.valid_until;
        publish(&store, &later).unwrap();
        assert_eq!(load(&store, &later.card.encoder_id).unwrap(), samples::encoder());
    }

    #[test]
    fn tensors_of_another_encoder_are_refused_and_repaired_by_the_right_one() {
        let store = MemoryStore::default();
        let encoder = samples::encoder();
        publish(&store, &encoder).unwrap();
        let path = folder_of(&encoder.card.encoder_id).unwrap().join(TENSORS).unwrap();
        let mut other = encoder.clone();
        other.tensors.values_mut().next().unwrap().data[0] = 0.5;
        other.card.encoder_id =
            crate::formats::encoder::encoder_id(&other.card.meaning, &other.tensors).unwrap();
        store.put(&path, &other.tensor_bytes().unwrap(), PutMode::Overwrite).unwrap();
        assert_eq!(in_force(&store).unwrap_err().code(), "store_corrupt");
        keep(&store, &encoder).unwrap();
        assert_eq!(in_force(&store).unwrap(), Some(encoder));
    }

    #[test]
    fn every_file_of_the_encoder_in_force_is_missed_when_torn_and_made_good() {
        let encoder = samples::encoder();
        let store = MemoryStore::default();
        publish(&store, &encoder).unwrap();
        let paths: Vec<StorePath> = store.list(None).unwrap().into_iter().map(|entry| entry.path).collect();
        for path in paths {
            let whole = store.get(&path).unwrap().unwrap().bytes;
            for torn in [&whole[..whole.len() / 2], &[]] {
                store.put(&path, torn, PutMode::Overwrite).unwrap();
                assert_eq!(whole_in_force(&store).unwrap_err().code(), "store_corrupt", "{path}");
                keep(&store, &encoder).unwrap();
                // Without its card nothing says which encoder is in force: that is for a run to say.
                if path.as_str() == "meta/shared_encoder.json" {
                    publish(&store, &encoder).unwrap();
                }
                mend_in_force(&store).unwrap();
                assert_eq!(whole_in_force(&store).unwrap().as_ref(), Some(&encoder), "{path}");
                assert_eq!(store.get(&path).unwrap().unwrap().bytes, whole, "{path}");
            }
            store.delete(&path).unwrap();
            let is_pointer = path.as_str() == "meta/shared_encoder.json";
            assert_eq!(whole_in_force(&store).is_err(), !is_pointer, "{path}");
            publish(&store, &encoder).unwrap();
        }
    }
}

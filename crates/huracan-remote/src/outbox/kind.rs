//! What a path of the store is to the outbox: in which order it is carried, and what happens when two
//! machines have written it.

use huracan_store::StorePath;

/// What a path is. The order of the variants is the order in which they are carried: what is pointed
/// at before what points, the roster after everything it names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// A file of a folder that never changes once it is sealed: a model's or an encoder's.
    Piece,
    /// The file that seals such a folder: a model's manifest, an encoder's card.
    Seal,
    /// A coin's champion pointer.
    Pointer,
    /// Lines that are only ever added to: promotions and trials.
    Log,
    /// Tensors and twin of the encoder in force.
    InForcePart,
    /// The card that says which encoder is in force.
    InForce,
    /// The feature bank.
    FeatureBank,
    /// The meta learner.
    MetaLearner,
    /// What is kept of a run.
    Record,
    /// Fills and decisions of a day, added to by the one trader there is.
    Trades,
    /// What the contract's folders hold besides.
    Other,
    /// What an operator has said; whoever is nearer to the operator wins, which is the remote.
    Overrides,
    /// The roster.
    Roster,
    /// A sign of life: the last one counts, and a lost one is no loss.
    Heartbeat,
}

impl Kind {
    /// What `path` is; `None` for what stays on its machine (leases, caches, notes).
    pub(crate) fn of(path: &StorePath) -> Option<Kind> {
        let segments: Vec<&str> = path.segments().collect();
        Some(match segments[..] {
            ["models" | "challengers", _, _, "manifest.json"] => Kind::Seal,
            ["meta", "encoders", _, "shared_encoder.json"] => Kind::Seal,
            ["models" | "challengers", _, _, _] | ["meta", "encoders", _, _] => Kind::Piece,
            ["champions", "roster.json"] => Kind::Roster,
            ["champions", name] if name.ends_with(".jsonl") => Kind::Log,
            ["trades", name] if name.ends_with(".jsonl") => Kind::Trades,
            ["champions", name] if name.ends_with(".json") => Kind::Pointer,
            ["meta", "shared_encoder.json"] => Kind::InForce,
            ["meta", name] if name.starts_with("shared_encoder.") => Kind::InForcePart,
            ["meta", "feature_bank.json"] => Kind::FeatureBank,
            ["meta", "meta_learner.json"] => Kind::MetaLearner,
            ["runs", _, ..] => Kind::Record,
            ["runtime", "overrides.json"] => Kind::Overrides,
            ["heartbeats", _] => Kind::Heartbeat,
            ["models" | "challengers" | "champions" | "meta" | "runtime" | "trades", ..] => Kind::Other,
            _ => return None,
        })
    }

    /// Whether it belongs to a folder that never changes.
    pub(crate) fn is_sealed(self) -> bool {
        matches!(self, Kind::Piece | Kind::Seal)
    }

    /// Whether both sides having changed it means that somebody must decide again.
    pub(crate) fn is_decided(self) -> bool {
        !self.is_sealed() && !matches!(self, Kind::Record | Kind::Trades | Kind::Overrides | Kind::Heartbeat)
    }

    /// Whether it says what a run has decided, and is made again when the run is.
    pub(crate) fn is_made_again(self) -> bool {
        self.is_decided() && self != Kind::Other
    }
}

/// The folder of a sealed file: its first three segments.
pub(crate) fn folder_of(path: &StorePath) -> Option<StorePath> {
    let text = path.as_str();
    let end = text.match_indices('/').nth(2).map(|(at, _)| at)?;
    StorePath::new(&text[..end]).ok()
}

/// The name of the file that seals a folder.
pub(crate) fn seal_of(folder: &StorePath) -> huracan_store::Result<StorePath> {
    folder.join(if folder.as_str().starts_with("meta/") { "shared_encoder.json" } else { "manifest.json" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_the_contract_has_its_place_and_what_stays_has_none() {
        let check = |text: &str, expected: Option<Kind>| {
            assert_eq!(Kind::of(&StorePath::new(text).unwrap()), expected, "{text}");
        };
        check("models/BTCUSDT.P/baseline_20250101.2/model.bin", Some(Kind::Piece));
        check("challengers/BTCUSDT/20250101T000000Z/manifest.json", Some(Kind::Seal));
        check("meta/encoders/0123456789abcdef/shared_encoder.pkl", Some(Kind::Piece));
        check("meta/encoders/0123456789abcdef/shared_encoder.json", Some(Kind::Seal));
        check("champions/BTCUSDT.P.json", Some(Kind::Pointer));
        check("champions/roster.json", Some(Kind::Roster));
        check("champions/promotions.jsonl", Some(Kind::Log));
        check("champions/trials.jsonl", Some(Kind::Log));
        check("meta/shared_encoder.json", Some(Kind::InForce));
        check("meta/shared_encoder.safetensors", Some(Kind::InForcePart));
        check("runs/20250101T000000Z-01234567/report.html", Some(Kind::Record));
        check("trades/20250101.jsonl", Some(Kind::Trades));
        check("locks/run.json", None);
        check("cache/x", None);
        check("notes.txt", None);
    }

    #[test]
    fn a_folder_is_named_by_its_first_three_segments_and_sealed_by_its_last_file() {
        let path = StorePath::new("models/BTCUSDT/baseline_20250101/model.bin").unwrap();
        let folder = folder_of(&path).unwrap();
        assert_eq!(folder.as_str(), "models/BTCUSDT/baseline_20250101");
        assert_eq!(Kind::of(&seal_of(&folder).unwrap()), Some(Kind::Seal));
        let encoder = StorePath::new("meta/encoders/0123456789abcdef").unwrap();
        assert_eq!(Kind::of(&seal_of(&encoder).unwrap()), Some(Kind::Seal));
    }
}

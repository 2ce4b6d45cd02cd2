//! Where a run's candles come from: a folder of files, or a generated market.

use huracan_core::series::{Bars, Note};
use huracan_core::synth;
use huracan_core::words::{Market, Symbol, Timeframe, UtcMs};
use huracan_market::files::{self, ScanOptions, SeriesFiles};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// One input file, for a model's lineage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct InputFile {
    /// Path below the candle folder, or a name for generated bars.
    pub path: String,
    /// SHA-256 of the content, hex.
    pub sha256: String,
}

/// One coin's bars as read, with where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The bars, any order.
    pub bars: Bars,
    /// The files they were read from, sorted.
    pub inputs: Vec<InputFile>,
    /// Odd things about the files.
    pub notes: Vec<Note>,
}

/// A coin that could not be loaded: stable code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFailure {
    /// Stable code.
    pub code: String,
    /// What was found, where, what was expected, what to do.
    pub text: String,
}

/// One entry of a source.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A coin with readable files.
    Coin(Symbol),
    /// Something that names no usable coin; `name` is what people see.
    Refused {
        /// Symbol or file name as found.
        name: String,
        /// Why.
        failure: LoadFailure,
    },
}

/// A source of candles. `load` is called from many threads, more than once per coin.
pub trait CandleSource: Sync {
    /// What there is, in a fixed order (symbols ascending).
    fn entries(&self) -> &[Entry];
    /// Reads the coin at this position of [`CandleSource::entries`].
    ///
    /// # Errors
    /// A [`LoadFailure`] for this coin only.
    fn load(&self, index: usize) -> Result<Loaded, LoadFailure>;
    /// What the coin at this position is made of: equal fingerprints mean equal bars, or the same
    /// reason for having none. With `until`, rows that start at or after it do not count.
    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String;
    /// One line for people and for the run's record.
    fn describe(&self) -> String;
}

/// A folder of candle files as a source.
pub struct FolderSource {
    dir: PathBuf,
    entries: Vec<Entry>,
    series: Vec<Option<SeriesFiles>>,
}

impl FolderSource {
    /// Scans a folder (footers and names only); series of other bar lengths than `timeframe` are
    /// left aside, so there may be no entry at all.
    ///
    /// # Errors
    /// When the folder is missing, empty, or unreadable as a whole.
    pub fn open(
        dir: &Path,
        timeframe: Timeframe,
        market: Option<Market>,
    ) -> Result<FolderSource, huracan_market::Error> {
        let scan = files::scan(dir, &ScanOptions { bar: Some(timeframe), market, symbol: None })?;
        let mut found: Vec<(String, Entry, Option<SeriesFiles>)> = Vec::new();
        for series in scan.series.into_iter().filter(|series| series.timeframe == timeframe) {
            found.push((series.symbol.to_string(), Entry::Coin(series.symbol.clone()), Some(series)));
        }
        for unusable in scan.unusable {
            let failure =
                LoadFailure { code: unusable.reason.code().to_owned(), text: unusable.reason.to_string() };
            let name = unusable.symbol.map_or(unusable.name, |s| s.to_string());
            found.push((name.clone(), Entry::Refused { name, failure }, None));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let (entries, series) = found.into_iter().map(|(_, entry, series)| (entry, series)).unzip();
        Ok(FolderSource { dir: dir.to_owned(), entries, series })
    }
}

impl CandleSource for FolderSource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let gone = || LoadFailure { code: "unreadable".into(), text: "no candle file".into() };
        let series = self.series.get(index).and_then(Option::as_ref).ok_or_else(gone)?;
        let candles = files::read(series)
            .map_err(|error| LoadFailure { code: error.code().to_owned(), text: error.to_string() })?;
        let below = |path: &Path| path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().into_owned();
        let inputs = candles.inputs.into_iter().map(|f| InputFile { path: below(&f.path), sha256: f.sha256 });
        Ok(Loaded { bars: candles.bars, inputs: inputs.collect(), notes: candles.notes })
    }

    /// SHA-256 over names and bytes of its files (with `until`: over the rows before it), or over
    /// what is wrong with it.
    fn fingerprint(&self, index: usize, until: Option<UtcMs>) -> String {
        if let (Some(until), Some(Some(_))) = (until, self.series.get(index)) {
            let loaded = self.load(index);
            return loaded.map_or_else(
                |failure| hex(&Sha256::digest(format!("{} {}", failure.code, failure.text))),
                |loaded| digest(&loaded.bars, until),
            );
        }
        let mut hash = Sha256::new();
        if let Some(Entry::Refused { name, failure }) = self.entries.get(index) {
            hash.update(format!("{name} {} {}", failure.code, failure.text));
        }
        for path in self.series.get(index).and_then(Option::as_ref).map_or(&[][..], |s| &s.files) {
            hash.update(path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().as_bytes());
            match std::fs::read(path) {
                Ok(bytes) => hash.update(Sha256::digest(&bytes)),
                Err(error) => hash.update(error.to_string()),
            }
        }
        hex(&hash.finalize())
    }

    fn describe(&self) -> String {
        format!("{} series of candle files", self.entries.len())
    }
}

/// The generated market as a source.
pub struct SynthSource {
    factors: synth::Factors,
    order: Vec<usize>,
    entries: Vec<Entry>,
    spec: synth::MarketSpec,
}

impl SynthSource {
    /// The market of a specification.
    pub fn new(spec: &synth::MarketSpec) -> SynthSource {
        let mut order: Vec<usize> = (0..spec.coins).collect();
        order.sort_by_key(|&i| spec.symbol(i));
        SynthSource {
            factors: synth::Factors::new(spec),
            entries: order.iter().map(|&i| Entry::Coin(spec.symbol(i))).collect(),
            order,
            spec: spec.clone(),
        }
    }

    /// The truth about the coin at this position of the entries.
    pub fn truth(&self, index: usize) -> synth::Truth {
        synth::coin(&self.spec, &self.factors, self.order[index]).truth
    }
}

impl CandleSource for SynthSource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let coin = synth::coin(&self.spec, &self.factors, self.order[index]);
        let input =
            InputFile { path: format!("synth/{}", coin.symbol), sha256: digest(&coin.bars, UtcMs(i64::MAX)) };
        Ok(Loaded { bars: coin.bars, inputs: vec![input], notes: Vec::new() })
    }

    fn fingerprint(&self, index: usize, _: Option<UtcMs>) -> String {
        hex(&Sha256::digest(format!("{:?} coin {}", self.spec, self.order[index])))
    }

    fn describe(&self) -> String {
        let s = &self.spec;
        format!(
            "generated market, seed {}, {} coins, {} days of {} bars",
            s.seed.0, s.coins, s.days, s.timeframe
        )
    }
}

/// SHA-256 over the rows that start before `until`, as read, hex.
fn digest(bars: &Bars, until: UtcMs) -> String {
    let mut hash = Sha256::new();
    let optional = [&bars.quote_volume, &bars.trades, &bars.taker_buy_base, &bars.taker_buy_quote];
    let columns: Vec<&Vec<f64>> = [&bars.open, &bars.high, &bars.low, &bars.close, &bars.volume]
        .into_iter()
        .chain(optional.into_iter().flatten())
        .collect();
    for (i, time) in bars.open_time.iter().enumerate().filter(|(_, time)| **time < until.0) {
        hash.update(time.to_le_bytes());
        columns.iter().filter_map(|column| column.get(i)).for_each(|v| hash.update(v.to_le_bytes()));
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn rows(step_ms: i64) -> String {
        let line = |i: i64| format!("{},1,1.5,0.5,1.2,10\n", 1_735_689_600_000 + i * step_ms);
        "open_time,open,high,low,close,volume\n".to_owned() + &(0..50).map(line).collect::<String>()
    }

    #[test]
    fn series_of_other_bars_are_left_aside_and_fingerprints_follow_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("AAAUSDT-1h.csv"), rows(3_600_000)).unwrap();
        fs::write(dir.path().join("AAAUSDT-15m.csv"), rows(900_000)).unwrap();
        fs::write(dir.path().join("BBBUSDT.parquet"), "no Parquet").unwrap();
        let open = || FolderSource::open(dir.path(), Timeframe::H1, Some(Market::Perp)).unwrap();
        let source = open();
        assert_eq!(source.entries().len(), 2);
        assert!(matches!(&source.entries()[0], Entry::Coin(s) if s.to_string() == "AAAUSDT.P"));
        assert!(matches!(&source.entries()[1], Entry::Refused { .. }));
        let before: Vec<String> = (0..2).map(|i| source.fingerprint(i, None)).collect();
        assert_eq!(
            (before[0].clone(), before[1].clone()),
            (open().fingerprint(0, None), open().fingerprint(1, None))
        );
        fs::write(dir.path().join("AAAUSDT-1h.csv"), rows(3_600_000) + "\n").unwrap();
        assert_ne!(open().fingerprint(0, None), before[0]);
        assert_eq!(open().fingerprint(1, None), before[1]);
    }
}

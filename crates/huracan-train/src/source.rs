//! Where a run's candles come from: a folder of files, or a generated market.

use huracan_core::series::Bars;
use huracan_core::synth;
use huracan_core::words::Symbol;
use sha2::{Digest, Sha256};

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
    /// Odd things about the files, as (stable code, sentence).
    pub notes: Vec<(String, String)>,
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
    /// One line for people and for the run's record.
    fn describe(&self) -> String;
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
        synth::coin(&self.factors, self.order[index]).truth
    }
}

impl CandleSource for SynthSource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Loaded, LoadFailure> {
        let coin = synth::coin(&self.factors, self.order[index]);
        let input = InputFile { path: format!("synth/{}", coin.symbol), sha256: digest(&coin.bars) };
        Ok(Loaded { bars: coin.bars, inputs: vec![input], notes: Vec::new() })
    }

    fn describe(&self) -> String {
        let s = &self.spec;
        format!("generated market, seed {}, {} coins, {} days of {} bars", s.seed.0, s.coins, s.days, s.timeframe)
    }
}

/// SHA-256 over the bars' columns, hex.
fn digest(bars: &Bars) -> String {
    let mut hash = Sha256::new();
    bars.open_time.iter().for_each(|t| hash.update(t.to_le_bytes()));
    for column in [&bars.open, &bars.high, &bars.low, &bars.close, &bars.volume] {
        column.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

//! Our side of the comparison with LightGBM in `peers/trees_peer.py`, which runs this.
//!
//! `trees_peer FOLDER FEATURES LEAVES ROUNDS FEATURE_SHARE REPEATS SEED` reads `train.f64`, `test.f64`
//! (row-major) and `label.f64` from FOLDER, fits REPEATS times, writes the scores of the test rows to
//! `ours.f64` and prints four medians: seconds of wall to bin the training rows and to fit, and seconds of
//! processor (as Linux counts them, else NaN) for both.
#![allow(clippy::disallowed_methods, reason = "an example reads files and measures")]

use faer::{Mat, MatRef};
use huracan_core::heads::trees::{BinEdges, Binned, TreesSpec, fit};
use huracan_core::words::Seed;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, features, leaves, rounds, feature_share, repeats, seed] = args.as_slice() else {
        return Err("expected FOLDER FEATURES LEAVES ROUNDS FEATURE_SHARE REPEATS SEED".into());
    };
    let folder = Path::new(folder);
    let features: usize = features.parse()?;
    let (train, test) = (matrix(folder, "train.f64", features)?, matrix(folder, "test.f64", features)?);
    let label = numbers(&folder.join("label.f64"))?;
    let spec = TreesSpec {
        rounds: rounds.parse()?,
        leaves: leaves.parse()?,
        feature_share: feature_share.parse()?,
        learning_rate: 0.05,
        lambda_l2: 10.0,
        min_leaf_weight: 50.0,
        min_gain: 0.0,
        early_stop_rounds: None,
        seed: Seed(seed.parse()?),
        ..TreesSpec::default()
    };
    let (mut binning, mut fitting) = (Vec::new(), Vec::new());
    let mut ensemble = None;
    for _ in 0..repeats.parse()? {
        let start = Clock::now();
        let binned = bin(train.as_ref())?;
        binning.push(start.since());
        let start = Clock::now();
        ensemble = fit(&binned, &label, None, None, None, &spec);
        fitting.push(start.since());
    }
    let ensemble = ensemble.ok_or("rows, labels and spec do not fit together")?;
    let scores = ensemble.score_rows(test.as_ref()).ok_or("test rows have other features")?;
    std::fs::write(
        folder.join("ours.f64"),
        scores.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>(),
    )?;
    let median_of = |times: &[[f64; 2]], k: usize| median(times.iter().map(|t| t[k]).collect());
    for k in 0..2 {
        println!("{:e} {:e}", median_of(&binning, k), median_of(&fitting, k));
    }
    Ok(())
}

fn bin(rows: MatRef<'_, f64>) -> Result<Binned, &'static str> {
    Binned::from_rows(&BinEdges::fit(rows), rows).ok_or("no features")
}

/// Wall and processor time: on a busy machine the second says what the work costs.
struct Clock {
    wall: Instant,
    processor_seconds: f64,
}

impl Clock {
    fn now() -> Clock {
        Clock { wall: Instant::now(), processor_seconds: processor_seconds().unwrap_or(f64::NAN) }
    }

    fn since(&self) -> [f64; 2] {
        let now = Clock::now();
        [(now.wall - self.wall).as_secs_f64(), now.processor_seconds - self.processor_seconds]
    }
}

fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_unstable_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn matrix(folder: &Path, name: &str, columns: usize) -> Result<Mat<f64>, std::io::Error> {
    let cells = numbers(&folder.join(name))?;
    Ok(Mat::from_fn(cells.len() / columns.max(1), columns, |i, j| cells[i * columns + j]))
}

fn numbers(path: &Path) -> Result<Vec<f64>, std::io::Error> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect())
}

//! Our side of the comparison with scikit-learn in `peers/linear_peer.py`, which runs this.
//!
//! `linear_peer FOLDER FEATURES COMPONENTS LAMBDA` reads `train.f64` (row-major, finite, standardised by
//! whoever wrote it) and `label.f64` from FOLDER and writes the first principal components, row by row,
//! to `components.f64`, the ridge's coefficients at penalty λ/n to `ridge.f64`, and those of the ridge
//! over components and features together, folded, to `coded.f64`: all from one Gram, as the Engine does.
#![allow(clippy::disallowed_methods, reason = "an example reads and writes files")]

use faer::Mat;
use huracan_core::encoder::Eigenbasis;
use huracan_core::gram::Gram;
use huracan_core::heads::pooled::{penalty_metric, ridge};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, features, components, lambda] = args.as_slice() else {
        return Err("expected FOLDER FEATURES COMPONENTS LAMBDA".into());
    };
    let folder = Path::new(folder);
    let (p, k, lambda): (usize, usize, f64) = (features.parse()?, components.parse()?, lambda.parse()?);
    let (rows, label) = (numbers(&folder.join("train.f64"))?, numbers(&folder.join("label.f64"))?);
    let n = label.len();
    if rows.len() != n * p {
        return Err(format!("train.f64 has {} values, expected {n} rows of {p}", rows.len()).into());
    }
    let a = Mat::from_fn(n, p + 1, |i, j| if j == p { 1.0 } else { rows[i * p + j] });
    let y = Mat::from_fn(n, 1, |i, _| label[i]);
    let mut gram = Gram::new(p, 1);
    gram.add_rows(a.as_ref(), y.as_ref());
    let moments = gram.moments().ok_or("fewer than two rows")?;
    let moments = moments.standardised(&moments.deviations());
    let basis = Eigenbasis::new(&moments.cov).ok_or("a value is not finite")?;
    let w = basis.vectors.get(.., ..k.min(basis.rank));
    let coefficients = |metric: &Mat<f64>| ridge(&moments.cov, &moments.cross, lambda, metric);
    let plain = coefficients(&Mat::identity(p, p)).ok_or("the penalty is too small")?;
    let coded = coefficients(&penalty_metric(w)).ok_or("the penalty is too small")?;
    write(
        &folder.join("components.f64"),
        w.col_iter().flat_map(|c| c.iter().copied().collect::<Vec<f64>>()),
    )?;
    write(&folder.join("ridge.f64"), (0..p).map(|i| plain[(i, 0)]))?;
    write(&folder.join("coded.f64"), (0..p).map(|i| coded[(i, 0)]))?;
    Ok(())
}

fn numbers(path: &Path) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|c| f64::from_le_bytes(*c)).collect())
}

fn write(path: &Path, values: impl Iterator<Item = f64>) -> std::io::Result<()> {
    std::fs::write(path, values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>())
}

"""Our principal components and ridge beside scikit-learn's, on the same rows of real coins.

    pip install scikit-learn scipy pandas pyarrow numpy
    cargo build --release -p huracan-core --example linear_peer
    python3 linear_peer.py KLINES target/release/examples/linear_peer [COINS]

KLINES is a folder of hourly Parquet files, one a coin. For each of COINS with the longest history: the
features of `trees_peer.py`, missing values 0, standardised. Prints the largest principal angle between
the two spans of 20 components, the smallest |cosine| between single components, and the largest
difference of ridge coefficients, over the features alone and over components and features together.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from rows import bars, features, label

COMPONENTS, PENALTY = 20, 3.0


def compare(binary: str, folder: Path, path: Path) -> list[float]:
    b = bars(path)
    x, y = features(b).iloc[336:].to_numpy(float), label(b).iloc[336:].to_numpy(float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    x = np.nan_to_num((x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = y - y.mean()
    x.astype("<f8").tofile(folder / "train.f64")
    y.astype("<f8").tofile(folder / "label.f64")
    subprocess.run([binary, str(folder), str(x.shape[1]), str(COMPONENTS), str(PENALTY)], check=True)
    ours = np.fromfile(folder / "components.f64").reshape(COMPONENTS, -1)
    theirs = PCA(COMPONENTS, svd_solver="full").fit(x).components_
    plain = Ridge(alpha=PENALTY * len(y), fit_intercept=False, solver="cholesky").fit(x, y).coef_
    codes = np.hstack([x @ theirs.T, x])
    wide = Ridge(alpha=PENALTY * len(y), fit_intercept=False, solver="cholesky").fit(codes, y).coef_
    folded = theirs.T @ wide[:COMPONENTS] + wide[COMPONENTS:]
    return [
        np.max(subspace_angles(ours.T, theirs.T)),
        np.min(np.abs(np.sum(ours * theirs, axis=1))),
        np.max(np.abs(np.fromfile(folder / "ridge.f64") - plain)) / np.max(np.abs(plain)),
        np.max(np.abs(np.fromfile(folder / "coded.f64") - folded)) / np.max(np.abs(folded)),
    ]


def main(klines: str, binary: str, coins: int) -> None:
    longest = sorted(Path(klines).glob("*.parquet"), key=lambda f: -pq.ParquetFile(f).metadata.num_rows)
    with tempfile.TemporaryDirectory() as folder:
        rows = np.array([compare(binary, Path(folder), path) for path in longest[:coins]])
    print(f"{len(rows)} coins, {COMPONENTS} components, penalty {PENALTY} n")
    print(f"largest principal angle      {rows[:, 0].max():.1e} rad")
    print(f"smallest |cosine| of a pair  {rows[:, 1].min():.12f}")
    print(f"ridge, relative difference   {rows[:, 2].max():.1e}")
    print(f"with components, the same    {rows[:, 3].max():.1e}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12)

"""Our trees beside LightGBM: out-of-sample AUC and rank IC per coin, and time to fit.

    pip install lightgbm scikit-learn pandas pyarrow numpy
    cargo build --release -p huracan-core --example trees_peer
    python3 trees_peer.py KLINES target/release/examples/trees_peer [COINS] [REPEATS]

KLINES is a folder of hourly Parquet files, one a coin. For COINS of those with the longest history
this makes about seventy causal features and the 24-bar forward return (entered a bar late, in units of
its volatility), trains on the first 70 % and, after a gap of five days, scores the rest. Both sides get
the same rows, 63 bins, leaves, rounds, learning rate, penalty and least rows of a leaf, and one thread
each; their fits take turns, so that a busy machine is busy for both. Once each side makes its own bins,
once both are given the same. Last comes one fit of all coins' rows together. LightGBM runs once with its histograms by column and once by row, and the faster of the
two counts; its quantised training is shown beside.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from rows import bars, features, label

ROUNDS = 100
GAP = 5 * 24
PARAMS = {
    "objective": "regression", "max_bin": 63, "min_data_in_bin": 1, "learning_rate": 0.05,
    "lambda_l2": 10.0, "min_data_in_leaf": 50, "min_sum_hessian_in_leaf": 1e-3, "num_threads": 1,
    "bin_construct_sample_cnt": 10_000_000, "verbosity": -1, "deterministic": True,
}


def split(path: Path):
    b = bars(path)
    x, y = features(b).iloc[336:].to_numpy(float), label(b).iloc[336:].to_numpy(float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    cut = int(0.7 * len(y))
    mean = y[:cut].mean()
    return x[:cut], y[:cut] - mean, x[cut + GAP :], y[cut + GAP :] - mean


def binned_alike(data):
    """The same rows with every value replaced by the number of its bin of sixty."""
    x, y, x_test, y_test = data
    edges = np.nanquantile(x, np.arange(1, 60) / 60, axis=0)
    number = [lambda v, j=j: np.where(np.isnan(v), np.nan, np.searchsorted(edges[:, j], v)) for j in range(x.shape[1])]
    bins = [np.column_stack([number[j](part[:, j]) for j in range(x.shape[1])]) for part in (x, x_test)]
    return bins[0], y, bins[1], y_test


def ours(binary: str, folder: Path, data, leaves: int, share: float, repeats: int, seed: int):
    x, y, x_test, _ = data
    for name, values in (("train", x), ("label", y), ("test", x_test)):
        values.astype("<f8").tofile(folder / f"{name}.f64")
    args = [binary, folder, x.shape[1], leaves, ROUNDS, share, repeats, seed]
    out = subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True).stdout
    wall, processor = (np.array(line.split(), float) for line in out.splitlines())
    return np.fromfile(folder / "ours.f64"), wall, processor


def theirs(data, leaves: int, share: float, repeats: int, **more):
    x, y, x_test, _ = data
    params = {**PARAMS, "num_leaves": leaves, "feature_fraction": share, **more}
    times = []
    for _ in range(repeats):
        start = now()
        rows = lgb.Dataset(x, y, params=params).construct()
        middle = now()
        booster = lgb.train(params, rows, ROUNDS)
        times.append((middle - start, now() - middle))
    wall, processor = np.median(times, axis=0).T
    return booster.predict(x_test), wall, processor


def now():
    return np.array([time.perf_counter(), time.process_time()])


def compare(binary: str, folder: Path, data, leaves: int, share: float, repeats: int, seed: int = 0) -> dict:
    ours_ = ours(binary, folder, data, leaves, share, repeats, seed)
    by_column = theirs(data, leaves, share, repeats, seed=seed, force_col_wise=True)
    by_row = theirs(data, leaves, share, repeats, seed=seed, force_row_wise=True)
    try:
        quantised = theirs(data, leaves, share, repeats, seed=seed, force_row_wise=True, use_quantized_grad=True)
    except lgb.basic.LightGBMError:  # a check of its own fails on some coins
        quantised = None, np.full(2, np.nan), np.full(2, np.nan)
    a, b = ours_[0], by_column[0]
    up, y = data[3] > 0, data[3]
    auc = [roc_auc_score(up, s) for s in (a, b)]
    ic = [spearmanr(s, y).statistic for s in (a, b)]
    return {
        "rows": len(data[1]), "auc": auc[0], "auc_lgb": auc[1], "ic": ic[0], "ic_lgb": ic[1],
        "alike": np.corrcoef(a, b)[0, 1],
        # Milliseconds: [wall, processor] of bins and of the fit.
        **{f"{side}_{what}_{clock}": 1e3 * result[1 + c][w]
           for side, result in (("ours", ours_), ("column", by_column), ("row", by_row), ("quantised", quantised))
           for c, clock in enumerate(("wall", "processor")) for w, what in enumerate(("bins", "fit"))},
    }


def show(what: str, table: pd.DataFrame) -> None:
    print(f"{what}, {table.rows.median():.0f} rows", flush=True)

    def mean(values):
        return f"{values.mean():+.4f} ± {values.std() / np.sqrt(len(values)):.4f}"

    print("  AUC  ours", mean(table.auc), " LightGBM", mean(table.auc_lgb), " difference", mean(table.auc - table.auc_lgb))
    print("  IC   ours", mean(table.ic), " LightGBM", mean(table.ic_lgb), " difference", mean(table.ic - table.ic_lgb))
    print(f"  correlation of scores: median {table.alike.median():.5f}, least {table.alike.min():.5f}")
    for clock in ("wall", "processor"):
        t = {side: table[f"{side}_fit_{clock}"] for side in ("ours", "column", "row", "quantised")}
        best = np.minimum(t["column"], t["row"])
        whole = (best + table[f"column_bins_{clock}"]) / (t["ours"] + table[f"ours_bins_{clock}"])
        print(f"  {clock:9} ms to fit: ours {t['ours'].median():.1f}, LightGBM {best.median():.1f}"
              f" (quantised {t['quantised'].median():.1f}); ratio {(best / t['ours']).median():.2f},"
              f" with bins {whole.median():.2f}"
              f" (bins {table[f'ours_bins_{clock}'].median():.1f} and {table[f'column_bins_{clock}'].median():.1f})")


def main(klines: str, binary: str, coins: int, repeats: int) -> None:
    paths = sorted(Path(klines).glob("*.parquet"))
    sizes = {path: pq.read_metadata(path).num_rows for path in paths}
    long = [path for path in paths if sizes[path] >= 0.99 * max(sizes.values())]
    chosen = long[:: max(1, len(long) // coins)][:coins]
    data = {path.stem: split(path) for path in chosen}
    alike = {name: binned_alike(d) for name, d in data.items()}
    together = tuple(np.concatenate([d[i] for d in data.values()]) for i in range(4))
    first = next(iter(data.values()))
    print(f"{len(data)} coins, {first[0].shape[1]} features, {ROUNDS} rounds, {repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        for leaves, share in ((8, 1.0), (31, 1.0), (8, 0.5)):
            for kind, sets in (("own bins", data), ("the same bins", alike)):
                # Draws of features differ by coin, so that the error over coins knows of them.
                table = [compare(binary, Path(folder), d, leaves, share, repeats, i) for i, d in enumerate(sets.values())]
                show(f"a model a coin, {leaves} leaves, share of features {share}, {kind}", pd.DataFrame(table))
            table = [compare(binary, Path(folder), together, leaves, share, max(1, repeats // 3))]
            show(f"one model, {leaves} leaves, share of features {share}", pd.DataFrame(table))


if __name__ == "__main__":
    numbers = [int(a) for a in sys.argv[3:]] + [16, 5][len(sys.argv) - 3 :]
    main(sys.argv[1], sys.argv[2], *numbers)

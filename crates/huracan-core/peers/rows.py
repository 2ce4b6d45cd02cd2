"""Rows of one coin for the peer comparisons: about seventy causal features and a forward return."""

from pathlib import Path

import numpy as np
import pandas as pd

HORIZON, LAG = 24, 1


def bars(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    frame.columns = [str(c).lower() for c in frame.columns]
    when = next(c for c in ("open_time", "timestamp", "time", "date", "datetime") if c in frame.columns)
    return frame.drop_duplicates(when).sort_values(when).set_index(when)[["open", "high", "low", "close", "volume"]]


def features(b: pd.DataFrame) -> pd.DataFrame:
    """What was known when the bar closed."""
    p, r = np.log(b.close), np.log(b.close).diff()
    v = np.log1p(b.volume)
    sigma = r.ewm(span=168).std()
    f = {}
    for n in (1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96, 168, 336):
        f[f"return_{n}"] = p.diff(n) / (sigma * np.sqrt(n))
    for n in (6, 12, 24, 48, 72, 168, 336):
        f[f"volatility_{n}"] = np.log(r.rolling(n).std() / sigma)
        high, low = b.high.rolling(n).max(), b.low.rolling(n).min()
        f[f"place_{n}"] = (b.close - low) / (high - low)
        f[f"range_{n}"] = np.log(high / low) / (sigma * np.sqrt(n))
        f[f"ema_{n}"] = (p - p.ewm(span=n).mean()) / sigma
        f[f"volume_{n}"] = (v - v.rolling(n).mean()) / v.rolling(n).std()
        f[f"with_volume_{n}"] = r.rolling(n).corr(v)
        f[f"up_share_{n}"] = (r > 0).rolling(n).mean()
    for n in (24, 72, 168):
        f[f"skew_{n}"] = r.rolling(n).skew()
        f[f"autocorrelation_{n}"] = r.rolling(n).corr(r.shift())
    f["sigma"] = np.log(sigma)
    hour = np.arange(len(b)) % 24
    f["hour_sine"], f["hour_cosine"] = np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12)
    return pd.DataFrame(f, index=b.index).replace([np.inf, -np.inf], np.nan)


def label(b: pd.DataFrame) -> pd.Series:
    p = np.log(b.close)
    sigma = p.diff().ewm(span=168).std()
    ahead = p.shift(-LAG - HORIZON) - p.shift(-LAG)
    return (ahead / (sigma * np.sqrt(HORIZON))).clip(-6, 6)

"""Scores rows with LightGBM from a model text, for `tests/trees_lightgbm.rs`.

    pip install lightgbm numpy
    python3 lightgbm_predict.py MODEL.txt ROWS.f64 COLUMNS > scores

ROWS.f64 is row-major little-endian f64. Prints one score a line, with the digits that read back as
the same number; exits with 3 when lightgbm or numpy is not installed.
"""

import sys

try:
    import lightgbm
    import numpy as np
except ImportError:
    sys.exit(3)


def main(model: str, rows: str, columns: int) -> None:
    with open(model, encoding="utf-8") as file:
        booster = lightgbm.Booster(model_str=file.read())
    data = np.fromfile(rows, dtype="<f8").reshape(-1, columns)
    for score in booster.predict(data):
        print(repr(float(score)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""Opens the encoder's pickle in plain Python and compares its codes with figures computed elsewhere.

    python3 pickle_check.py shared_encoder.pkl CASES.json TOLERANCE

CASES.json as for onnx_check.py, with the input "scaled" and the output "codes". Needs nothing but
Python: this is also the shortest answer to how the pickle is meant to be read.
"""

import json
import math
import pickle
import sys


def encode(encoder, scaled):
    row = [(z - c) / s for z, c, s in zip(scaled, encoder["center"], encoder["scale"])]
    tensors = encoder["tensors"]

    def product(matrix, values):
        return [math.fsum(a * b for a, b in zip(weights, values)) for weights in matrix]

    if "components" in tensors:
        return product(tensors["components"], row)
    layer = 0
    while f"encoder_{layer}_weight" in tensors:
        row = [math.tanh(x) for x in row] if layer > 0 else row
        bias = tensors[f"encoder_{layer}_bias"]
        row = [x + b for x, b in zip(product(tensors[f"encoder_{layer}_weight"], row), bias)]
        layer += 1
    return row


def main(pickle_path, cases_path, tolerance):
    with open(pickle_path, "rb") as file:
        encoder = pickle.load(file)
    with open(cases_path) as file:
        cases = json.load(file)
    assert type(encoder) is dict and encoder["schema"] == "shared_encoder/1", encoder["schema"]
    worst = 0.0
    for scaled, expected in zip(cases["inputs"]["scaled"], cases["outputs"]["codes"], strict=True):
        assert len(scaled) == len(encoder["feature_names"]), len(scaled)
        for found, code in zip(encode(encoder, scaled), expected, strict=True):
            worst = max(worst, abs(found - code) / (1 + abs(code)))
    print(f"codes: {len(cases['outputs']['codes'])} rows, worst {worst:.1e}")
    return 0 if worst <= tolerance else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

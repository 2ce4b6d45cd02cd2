"""Runs an exported ONNX file in onnxruntime and compares it with figures computed elsewhere.

    python3 onnx_check.py MODEL.onnx CASES.json TOLERANCE

CASES.json holds {"inputs": {name: [[...], ...]}, "outputs": {name: [[...], ...]}}, NaN and Infinity
as Python's json reads them. Every output must agree within TOLERANCE * (1 + |expected|); the file
must also pass onnx.checker with full type inference. Prints one line an output; ends with 1 when
something differs. Needs: pip install onnx onnxruntime numpy
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime


def main(model_path, cases_path, tolerance):
    onnx.checker.check_model(onnx.load(model_path), full_check=True)
    with open(cases_path) as file:
        cases = json.load(file)
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    expects = {value.name: value.shape for value in session.get_inputs()}
    inputs = {name: np.array(rows, dtype=np.float64) for name, rows in cases["inputs"].items()}
    assert set(expects) == set(inputs), (expects, set(inputs))
    names = [value.name for value in session.get_outputs()]
    assert set(names) == set(cases["outputs"]), (names, set(cases["outputs"]))
    good = True
    for name, found in zip(names, session.run(names, inputs)):
        expected = np.array(cases["outputs"][name], dtype=np.float64)
        assert found.dtype == np.float64 and found.shape == expected.shape, (name, found.dtype, found.shape)
        same = np.isfinite(expected) & np.isfinite(found)
        assert (np.isnan(expected) == np.isnan(found)).all(), name
        worst = (np.abs(found - expected) / (1 + np.abs(expected)))[same].max(initial=0.0)
        spread = expected[same].std() if same.any() else 0.0
        print(f"{name}: {found.shape}, worst {worst:.1e}, spread {spread:.3g}")
        good &= bool(same.any()) and worst <= tolerance
    # One row alone gives what it gives among others.
    alone = session.run(names, {name: rows[:1] for name, rows in inputs.items()})
    for name, found in zip(names, alone):
        assert found.shape[0] == 1, (name, found.shape)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

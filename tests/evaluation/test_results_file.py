"""Results are strict JSON, and are read back unchanged."""

import json
import math

import numpy as np
import pytest
import torch

from drivemim.errors import DataError
from drivemim.evaluation.results_file import read_curves, read_metrics, results_json

NUMBERS = {"drivemim/a_AP": 0.5, "drivemim/b_AP": math.nan, "drivemim/a_count": 3}
CURVES = {"a": {"miss_rate": {"miss_rate": [1.0, math.nan]}}}


def test_nan_is_null(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(results_json(NUMBERS, CURVES))
    assert json.loads(path.read_text()) == {
        "drivemim/a_AP": 0.5,
        "drivemim/b_AP": None,
        "drivemim/a_count": 3,
        "curves": {"a": {"miss_rate": {"miss_rate": [1.0, None]}}},
    }
    numbers = read_metrics(path)
    assert list(numbers) == list(NUMBERS)
    assert numbers["drivemim/a_AP"] == 0.5
    assert math.isnan(numbers["drivemim/b_AP"])
    curve = read_curves(path)["a"]["miss_rate"]["miss_rate"]
    assert curve[0] == 1.0
    assert math.isnan(curve[1])


def test_numbers_of_numpy_and_torch_are_written(tmp_path):
    numbers = {"a": np.float32(0.5), "b": torch.tensor(math.inf), "c": np.int64(2), "d": ["x"]}
    assert json.loads(results_json(numbers)) == {"a": 0.5, "b": None, "c": 2, "d": ["x"]}


def test_files_with_nan_or_without_curves_are_read(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"drivemim/a_AP": NaN}')
    assert math.isnan(read_metrics(path)["drivemim/a_AP"])
    assert read_curves(path) == {}
    path.write_bytes(results_json(NUMBERS))
    assert "curves" not in json.loads(path.read_text())


def test_files_other_than_results_are_refused(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(
        FileNotFoundError, match=r"no results at .*results\.json; drivemim test --out"
    ):
        read_metrics(path)
    path.write_text('{"half')
    with pytest.raises(DataError, match=r"results\.json is not a results file"):
        read_curves(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="holds no names"):
        read_metrics(path)

"""Published models: one plain file that says everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph.models.model_file import (
    find_model,
    model_identity,
    publish_model,
    published_models,
    read_model,
    write_model,
)
from deeph_spec.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

KEYS = st.text(min_size=1, max_size=8).filter(
    lambda key: "/" not in key and "\0" not in key and key != "." and key.isprintable()
)
LEAVES = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_, np.complex64]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
PARAMETERS = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=3
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            assert_equal(one[key], other[key])
    else:
        other = np.asarray(other)
        assert np.asarray(one).dtype == other.dtype
        assert np.asarray(one).tobytes() == other.tobytes()
        assert np.shape(one) == np.shape(other)


@given(PARAMETERS, st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, parameters: Any, description: Any
) -> None:
    path = tmp_path_factory.mktemp("model") / "model.h5"
    write_model(path, parameters, description)
    again, said = read_model(path)
    assert_equal(again, parameters)
    assert said == description


PLAIN = {"block": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.zeros(2)}


def test_h5py_alone_reads_it_and_equal_models_are_equal_files(tmp_path: Path) -> None:
    long = {"network": "normal", "text": "x" * 100_000}
    write_model(tmp_path / "deep/er/a.h5", PLAIN, long)
    write_model(tmp_path / "b.h5", PLAIN, long)
    with h5py.File(tmp_path / "b.h5") as file:
        assert file.attrs["format"] == "deeph-model"
        assert json.loads(file["description"][()])["network"] == "normal"
        assert np.array_equal(file["parameters/block/w"], PLAIN["block"]["w"])
    assert model_identity(tmp_path / "deep/er/a.h5") == model_identity(tmp_path / "b.h5")
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    "parameters", [{"a/b": np.ones(1)}, {"": np.ones(1)}, {"a": "text"}, {"a": None}, {1: 2.0}]
)
def test_what_cannot_be_stored_leaves_no_file(tmp_path: Path, parameters: Any) -> None:
    with pytest.raises(ValueError, match=r"key|not an array of numbers"):
        write_model(tmp_path / "a.h5", parameters, {})
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model file"):
        read_model(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="not a model file, or it is damaged"):
        read_model(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["entries"] = [1.0]
    with pytest.raises(InputError, match="format is none, expected deeph-model"):
        read_model(tmp_path / "other.h5")
    write_model(tmp_path / "new.h5", PLAIN, {})
    with h5py.File(tmp_path / "new.h5", "a") as file:
        file.attrs["format_version"] = "2.0"
    with pytest.raises(InputError, match=r"model format 2\.0 is not known"):
        read_model(tmp_path / "new.h5")
    write_model(tmp_path / "half.h5", PLAIN, {})
    with h5py.File(tmp_path / "half.h5", "a") as file:
        del file["parameters"]
    with pytest.raises(InputError, match="damaged"):
        read_model(tmp_path / "half.h5")
    size = (tmp_path / "new.h5").stat().st_size
    with (tmp_path / "new.h5").open("rb+") as raw:
        raw.truncate(size // 2)
    with pytest.raises(InputError, match="damaged"):
        read_model(tmp_path / "new.h5")


def test_models_of_a_run_are_kept_and_found(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="no such model"):
        find_model(run)
    (run / "model").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no model; expected"):
        find_model(run)
    for epoch in (2, 9, 10, 100):
        publish_model(run / "model", "latest", epoch, PLAIN, {}, keep=3)
    with pytest.raises(InputError, match="holds no best model, only latest"):
        find_model(run)
    for epoch in (3, 12):
        publish_model(run / "model", "best", epoch, PLAIN, {})
    assert [epoch for epoch, _ in published_models(run / "model", "latest")] == [9, 10, 100]
    assert [epoch for epoch, _ in published_models(run / "model", "best")] == [12]
    best = run / "model/best/epoch_12.h5"
    assert find_model(run) == find_model(run / "model") == find_model(best) == best
    assert find_model(run, "latest").name == "epoch_100.h5"
    assert find_model(run, "latest", 9).name == "epoch_9.h5"
    with pytest.raises(InputError, match="no latest model of epoch 2; there are 9, 10, 100"):
        find_model(run, "latest", 2)

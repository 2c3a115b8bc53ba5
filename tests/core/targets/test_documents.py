"""The code of the page on other targets runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.predictor import Predictor
from deeph.networks import NETWORKS
from deeph.targets import TARGETS
from deeph.testing import BondNetwork
from deeph_spec.tensors import read_tensors

PAGE = Path(__file__).parents[3] / "docs/how-to/other-targets.md"


def test_the_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)
    monkeypatch.chdir(tmp_path)
    writing, reading, training = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(writing, PAGE.name, "exec"), names)
    written = read_tensors(tmp_path / "targets.h5")
    assert sorted(written) == ["born", "charges", "dipole"]
    assert [written[name].checked(3).per for name in sorted(written)] == [
        "atom", "atom", "structure"
    ]  # fmt: skip
    (tmp_path / "targets.h5").rename(tmp_path / "targets_pred.h5")
    before = names["born"]
    exec(compile(reading, PAGE.name, "exec"), names)
    np.testing.assert_allclose(names["born"], before, atol=1e-14)
    exec(compile(training, PAGE.name, "exec"), names)
    assert "1 structures to train" in capsys.readouterr().out
    predictor = Predictor(names["training"].model, names["parameters"], "")
    found = predictor(names["water"], names["pairs"])
    assert found.values.shape == (3, 1)


def test_every_target_is_in_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Density matrices")[0]
    table = re.findall(r'^\| `"(\w+)"` \|', text, flags=re.MULTILINE)
    assert sorted(table) == sorted(TARGETS)

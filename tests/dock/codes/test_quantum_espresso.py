"""Runs of Quantum ESPRESSO are recognised and say what they need; others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deeph_dock.codes import detect
from deeph_dock.codes.quantum_espresso import QUANTUM_ESPRESSO
from deeph_dock.conversion import convert, plan
from deeph_spec.errors import InputError


@pytest.fixture
def scf(tmp_path: Path) -> Path:
    """Give a folder as pw.x leaves it."""
    save = tmp_path / "runs" / "scf" / "si.save"
    save.mkdir(parents=True)
    (save / "data-file-schema.xml").write_text(
        '<?xml version="1.0"?>\n<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns">\n'
    )
    (save.parent / "pw.out").write_text("     Program PWSCF v.7.1 starts on 1Jan2024\n")
    return save.parent


def test_real_run_is_refused_in_one_line(dft_data: Callable[[str], Path]) -> None:
    folder = dft_data("third-party/qe") / "MoS2_hpro" / "scf"
    assert [run.code for run in detect(folder)] == ["quantum-espresso"]
    with pytest.raises(InputError, match=r"Quantum ESPRESSO: .* plane waves.*dock run pyscf"):
        QUANTUM_ESPRESSO.read(folder, "")


def test_others_beside_it_are_converted(
    scf: Path, toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    toy_run(atoms=2).write(tmp_path / "runs" / "siesta")
    jobs = plan([tmp_path / "runs"], tmp_path / "data")
    assert [job.id for job in jobs] == ["scf", "siesta"]
    outcomes = [convert(job) for job in jobs]
    assert [outcome.status for outcome in outcomes] == ["failed", "converted"]
    assert "a run of Quantum ESPRESSO" in outcomes[0].reason


def test_outputs_of_others_are_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text("WELCOME TO SIESTA\n")
    (tmp_path / "b.xml").write_text("<siesta/>\n")
    assert QUANTUM_ESPRESSO.recognises(tmp_path) == ()

"""Runs of Quantum ESPRESSO are recognised and say what they need; others go on."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("si.save/data-file-schema.xml", "cut of"),
        ("si.save/charge-density.dat", "\0\0"),
        ("VSC", "`\0\0\0VSC-Real   "),
        ("si.save/charge-density.hdf5", "\x89HDF"),
        ("si.save/data-file.xml", '<?xml version="1.0"?>\n<?iotk version="1.2.0"?>\n<Root>\n'),
        ("si.xml", '<?xml?>\n<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns">'),
        ("scf.out", "\n     Program PWSCF v.6.8 starts on\n"),
        ("espresso.pwo", "\n     Program PWSCF v.7.3 starts on\n"),
        ("job.log", "module load qe\n\n     Program PWSCF v.7.3 starts on\n"),
    ],
)
def test_each_trace_of_a_run_is_enough(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert [run.code for run in detect(tmp_path)] == ["quantum-espresso"]
    assert QUANTUM_ESPRESSO.inputs(tmp_path, "") == (tmp_path / name,)


def test_outdir_is_part_of_the_run(scf: Path, toy_run: Callable[..., Any], tmp_path: Path) -> None:
    (scf / "tmp").mkdir()
    (scf / "si.save").rename(scf / "tmp" / "si.save")
    toy_run(atoms=2).write(tmp_path / "runs" / "siesta")
    jobs = plan([tmp_path / "runs"], tmp_path / "data")  # not refused for different depths
    assert [job.id for job in jobs] == ["scf", "siesta"]


def test_dock_convert_lists_it_as_failed(
    scf: Path, toy_run: Callable[..., Any], tmp_path: Path, dock: Callable[..., Any]
) -> None:
    toy_run(atoms=2).write(tmp_path / "runs" / "siesta")
    code, out, _ = dock("convert", tmp_path / "runs", tmp_path / "data")
    assert code == 1
    assert "1  converted" in out
    assert f"scf: {scf}: a run of Quantum ESPRESSO" in out
    assert sorted(path.name for path in (tmp_path / "data" / "dft").iterdir()) == ["siesta"]


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
    (tmp_path / "c.xml").write_text("<Root>of anything</Root>\n")
    (tmp_path / "d.save").mkdir()  # empty, of anybody
    (tmp_path / "e.out").mkdir()
    os.mkfifo(tmp_path / "f.log")  # reading it would wait for ever
    assert QUANTUM_ESPRESSO.recognises(tmp_path) == ()

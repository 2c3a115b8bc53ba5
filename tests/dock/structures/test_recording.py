"""Making and recording: steps in order, draws until atoms are apart, what is there already."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.structures.perturb import perturb
from deeph_dock.structures.recording import (
    DRAWS,
    FORMATS,
    Job,
    generator,
    make,
    paths,
    status,
    write,
)
from deeph_dock.structures.supercell import repeat
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

PAIR = Structure(np.eye(3) * 4, [[0, 0, 0], [2, 2, 2]], [6, 1])
SHAKE = ("perturb", partial(perturb, displacement=0.5))
DOUBLE = ("supercell", partial(repeat, matrix=np.diag([1, 1, 2])))


def job(top: Path, *steps, **settings) -> Job:
    return Job("a/0001", PAIR, steps or (SHAKE,), top, "perturb a 0001", **settings)


def test_random_numbers_depend_on_seed_and_name_alone():
    first = generator(1, "perturb a 0001").random(4)
    assert np.array_equal(first, generator(1, "perturb a 0001").random(4))
    others = [generator(2, "perturb a 0001"), generator(1, "perturb a 0002")]
    for other in (*others, generator(1, "perturb b 0001")):
        assert not np.isclose(first, other.random(4)).any()


def test_steps_follow_each_other(tmp_path):
    made = make(job(tmp_path, DOUBLE, SHAKE, about={"command": "test"}))
    assert [step["step"] for step in made.record["steps"]] == ["supercell", "perturb"]
    assert (made.record["command"], made.record["atoms"]) == ("test", 4)
    # All four atoms are displaced, not two copies of two.
    moved = (
        made.structure.positions - repeat(PAIR, generator(0, ""), np.diag([1, 1, 2]))[0].positions
    )
    assert len(np.unique(np.round(moved, 6), axis=0)) == 4
    reverse = make(job(tmp_path, SHAKE, DOUBLE))
    moved = reverse.structure.positions.reshape(2, 2, 3)
    assert moved[:, 1] - moved[:, 0] == pytest.approx(np.array([[0, 0, 4.0]] * 2))


def test_draws(tmp_path):
    once = make(job(tmp_path, min_distance=2.0))
    assert once.record["draw"] == 1
    again = make(job(tmp_path, min_distance=3.2))
    assert 1 < again.record["draw"] <= DRAWS
    assert again.record["nearest_distance"] >= 3.2
    with pytest.raises(InputError, match=r"atoms 1 and [12] are 3\.\d+ Å apart.* of 100 draws"):
        make(job(tmp_path, min_distance=3.9))
    with pytest.raises(InputError, match=r"3\.46 Å apart, at least 3\.9 Å .*\(--min-distance\)$"):
        make(job(tmp_path, DOUBLE, min_distance=3.9))


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_there(tmp_path, kind):
    asked = job(tmp_path, format=kind, about={"made_by": "version 1"})
    made = make(asked)
    assert status(asked, made) == "new"
    write(asked, made)
    structure_file, record_file = paths(asked)
    assert structure_file.exists()
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths(asked))
    assert status(asked, made) == "skipped"
    later = replace(asked, about={"made_by": "version 2"})
    assert status(later, make(later)) == "skipped"
    other = replace(asked, seed=2)
    assert status(other, make(other)) == "changed"
    write(other, make(other))
    assert json.loads(record_file.read_text())["seed"] == 2
    record_file.write_text("{damaged")
    assert status(other, make(other)) == "changed"
    record_file.unlink()
    assert status(other, make(other)) == "changed"


def test_a_lone_atom_has_no_distance(tmp_path):
    atom = Structure(np.eye(3) * 5, [[0, 0, 0]], [2])
    alone = Job("he", atom, (SHAKE,), tmp_path, "he", periodic=(False, False, False))
    assert make(alone).record["nearest_distance"] is None
    write(alone, make(alone))
    assert status(alone, make(alone)) == "skipped"

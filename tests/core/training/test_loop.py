"""Trainings: what they end with, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.config import to_toml
from deeph.inference.predictor import Predictor
from deeph.models.model_file import published_models
from deeph.testing import assert_compiles_at_most, assert_hermitian, double_precision
from deeph.training import loop
from deeph.training.checkpoints import read_meta
from deeph.training.steps import Steps
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder, read_split
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from deeph_spec.testing import neighbour_pairs, random_folder, toy_matrices

pytestmark = pytest.mark.usefixtures("quick")
Trainer = Callable[..., Any]


def assert_same_models(one: Any, other: Any, which: str = "latest") -> None:
    first, second = one.model(which), other.model(which)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, signals: int = 1) -> None:
    """Let SIGINT arrive during an optimiser step."""
    train, done = Steps.train, [0]

    def interrupted(self: Steps, *arguments: Any) -> Any:
        done[0] += 1
        if done[0] == steps:
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)
        return train(self, *arguments)

    monkeypatch.setattr(Steps, "train", interrupted)


@pytest.mark.parametrize("accumulate", ["-1", "2"])
def test_an_interrupted_training_ends_as_one_that_ran_through(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, accumulate: str
) -> None:
    options = [f"accum_size={accumulate}"]
    through = trainer("through", *options)
    assert through.summary.stopped_because == "max_epoch reached"
    before = signal.getsignal(signal.SIGINT)
    lines = []
    for steps in (2, 3, 4):  # four steps an epoch: in the middle, the middle, at an end
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            part = trainer("stopped", *options, resume=True)
        lines += part.display.losses
        assert part.summary.stopped_because.startswith("interrupted in epoch")
        assert signal.getsignal(signal.SIGINT) is before
    assert part.summary.epochs < 4
    meta = read_meta(part.folder / "states")
    assert meta["step"] == 2 + 3 + 4
    rest = trainer("stopped", *options, resume=True)
    assert rest.summary.stopped_because == "max_epoch reached"
    assert rest.summary.epochs == 4
    assert lines + rest.display.losses == through.display.losses
    assert_same_models(rest, through)
    assert_same_models(rest, through, "best")
    assert rest.summary.best_loss == through.summary.best_loss
    assert rest.summary.best_epoch == through.summary.best_epoch
    assert through.display.losses[-1][3] < 1  # the schedule has had its say
    # The negation: with another seed everything differs.
    other = trainer("other", *options, "random_seed=3")
    assert other.display.losses != through.display.losses


def test_a_second_signal_does_not_wait(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupt_after(monkeypatch, 2, signals=2)
    with pytest.raises(KeyboardInterrupt):
        trainer("run")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_crash_costs_what_came_after_the_last_state(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    through = trainer("through")

    def crash(number: int) -> None:
        if number == 3:
            raise OSError("the machine is on fire")

    with pytest.raises(OSError, match="fire"):
        trainer("crashed", act=crash)
    rest = trainer("crashed", resume=True)
    assert rest.display.losses == through.display.losses[2:]
    assert_same_models(rest, through)
    assert_same_models(rest, through, "best")


KILLED = """
import sys
from pathlib import Path
import deeph.training.loop as loop
from deeph.config import load_train
from deeph.networks import NETWORKS
from deeph.testing import BondNetwork
from deeph.training.display import SilentDisplay

loop._SAVE_EVERY = 0.0
NETWORKS["normal"] = BondNetwork
loop.train(load_train(sys.argv[1]), Path(sys.argv[2]), SilentDisplay(), False)
"""


def test_a_killed_training_goes_on_from_its_last_state(
    trainer: Trainer, settings: Callable[..., Any], tmp_path: Path
) -> None:
    options = ("max_epoch=60", "min_learning_rate_scale=0")
    through = trainer("through", *options)  # first: what it compiled is there for the others
    file, folder = tmp_path / "train.toml", tmp_path / "killed"
    folder.mkdir()
    file.write_text(to_toml(settings(*options)), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), str(folder)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    deadline = time.monotonic() + 100
    try:
        while not list(folder.glob("states/state_*[5-9]")) and process.poll() is None:
            assert time.monotonic() < deadline, "no state was saved"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    done = read_meta(folder / "states")["epoch"]
    assert 4 <= done < 60
    rest = trainer("killed", *options, resume=True)
    assert rest.display.losses[0][0] == done + 1
    assert rest.display.losses == through.display.losses[done:]
    assert_same_models(rest, through)


def test_shapes_are_compiled_once_each(trainer: Trainer) -> None:
    options = ["train_size=3", "validate_size=2", "max_epoch=6"]
    one = trainer("one", *options)
    assert_compiles_at_most(one.training.steps.compiled, 2)
    two = trainer("two", *options, "multi_way_jit_num=2")
    compiled = two.training.steps.compiled
    assert_compiles_at_most(compiled, 4)
    assert len(two.training.train.shapes) == 2
    assert len(compiled) >= 3
    assert {line.split(":")[0] for line in compiled} == {"train", "evaluate"}
    # The shape changes no number but by rounding.
    np.testing.assert_allclose(
        [line[1] for line in two.display.losses],
        [line[1] for line in one.display.losses],
        rtol=1e-4,
    )
    with pytest.raises(AssertionError, match="programs compiled"):
        assert_compiles_at_most(compiled, 1)


def test_time_is_up_after_an_epoch(trainer: Trainer) -> None:
    run = trainer("run", "max_minutes=1e-9", "max_epoch=50")
    assert run.summary.stopped_because == "max_minutes = 1e-09 reached"
    assert run.summary.epochs == 1
    assert trainer("run", "max_epoch=2", resume=True).summary.epochs == 2


def test_training_ends_when_the_rate_has_fallen(trainer: Trainer) -> None:
    run = trainer("run", "max_epoch=50", "rtol=0.99", "factor=0.1", "min_learning_rate_scale=0.1")
    assert run.summary.stopped_because == "the learning rate has reached its smallest value"
    assert run.summary.epochs < 10


def test_the_best_model_is_that_of_the_lowest_validation_loss(trainer: Trainer) -> None:
    run = trainer("run", "max_epoch=12", "init_learning_rate=0.3")
    losses = [line[2] for line in run.display.losses]
    best = int(np.argmin(losses)) + 1
    assert run.summary.best_epoch == best
    assert run.summary.best_loss == min(losses)
    assert [path.name for path in (run.folder / "model" / "best").iterdir()] == [f"epoch_{best}.h5"]
    by_train = trainer(
        "train", "max_epoch=12", "init_learning_rate=0.3", "only_use_train_loss=true"
    )
    losses = [line[1] for line in by_train.display.losses]
    assert by_train.summary.best_loss == min(losses)
    assert by_train.summary.best_epoch == int(np.argmin(losses)) + 1


def test_settings_of_the_loss_have_an_effect(trainer: Trainer) -> None:
    plain = trainer("plain", "max_epoch=1")
    for number, option in enumerate(("loss_type=mae", "loss_scale_exponent=0.3")):
        other = trainer(f"other{number}", "max_epoch=1", option)
        assert other.display.losses[0][1] != plain.display.losses[0][1]


def test_without_validation_the_training_loss_is_followed(trainer: Trainer) -> None:
    run = trainer("run", "validate_size=0", "train_size=5")
    assert all(line[2] is None for line in run.display.losses)
    assert run.summary.best_loss == min(line[1] for line in run.display.losses)


def test_recent_models_are_kept_as_asked(trainer: Trainer) -> None:
    run = trainer("run", "max_epoch=9", "latest_interval=2", "latest_num=3")
    names = sorted(path.name for path in (run.folder / "model" / "latest").iterdir())
    assert names == ["epoch_6.h5", "epoch_8.h5", "epoch_9.h5"]
    none = trainer("none", "model_save.best=false", "model_save.latest=false")
    assert not published_models(none.folder / "model", "best")


def test_split_and_settings_are_noted(trainer: Trainer, data: Path) -> None:
    run = trainer("run")
    split = read_split(run.folder / "dataset_split.json")
    assert [len(split[name]) for name in ("train", "validate", "test")] == [4, 1, 0]
    given = run.folder / "mine.json"
    given.write_text(json.dumps({"train": ["0002"], "validate": ["0001", "0003"]}))
    other = trainer("other", f"dataset_split_json={given}")
    assert [example.name for example in other.training.train.examples] == ["0002"]
    assert [example.name for example in other.training.validate.examples] == ["0001", "0003"]


# --- starting from an earlier run -----------------------------------------------------------------


@pytest.fixture
def continued(trainer: Trainer) -> Callable[..., Any]:
    """Return a function that goes on from the folder of an earlier run."""

    def run(name: str, earlier: Any, *overrides: str) -> Any:
        return trainer(
            name,
            "continued.enable=true",
            f"previous_output_dir={earlier.folder}",
            *overrides,
        )

    return run


ALL_AT_ONCE = ("batch_size=4", "rtol=0.0", "patience=100", "init_learning_rate=0.2")


def test_an_earlier_run_goes_on_with_its_optimiser(
    trainer: Trainer, continued: Callable[..., Any]
) -> None:
    first = trainer("first", *ALL_AT_ONCE, "max_epoch=6")
    through = trainer("through", *ALL_AT_ONCE, "max_epoch=12")
    more = continued("more", first, *ALL_AT_ONCE, "max_epoch=6")
    losses = np.array([line[1] for line in through.display.losses])[6:]
    # Batches hold the same structures in another order: equal up to rounding.
    np.testing.assert_allclose([line[1] for line in more.display.losses], losses, rtol=1e-3)
    fresh = continued("fresh", first, *ALL_AT_ONCE, "max_epoch=6", "new_optimizer=true")
    again = np.array([line[1] for line in fresh.display.losses])
    np.testing.assert_allclose(again[0], losses[0], rtol=1e-3)
    assert np.abs(again[2:] / losses[2:] - 1).max() > 5e-3
    split = read_split(first.folder / "dataset_split.json")
    assert read_split(more.folder / "dataset_split.json") == split


@pytest.mark.parametrize(("which", "epoch"), [("best", -1), ("latest", -1), ("latest", 2)])
def test_any_published_model_can_go_on(
    trainer: Trainer, continued: Callable[..., Any], which: str, epoch: int
) -> None:
    first = trainer("first", "latest_interval=1", "init_learning_rate=0.5")
    start = dict(first.model(which, epoch))
    more = continued(
        "more", first, f"load_model_type={which}", f"load_model_epoch={epoch}",
        "init_learning_rate=1e-30", "max_epoch=1",
    )  # fmt: skip
    for name, array in more.model().items():
        np.testing.assert_array_equal(array, start[name], err_msg=name)
    if epoch > 0:
        assert any(np.any(array != start[name]) for name, array in first.model().items())


def test_a_model_is_tuned_to_other_data(
    trainer: Trainer, continued: Callable[..., Any], tmp_path: Path
) -> None:
    first = trainer("first")
    for number in range(3):
        random_folder(
            tmp_path / "other" / "dft" / f"x{number}", atoms=3, seed=20 + number,
            orbital_map={"H": (0,), "C": (0, 0)}, cutoff=2.8,
        )  # fmt: skip
    options = ["new_training_data=true", "new_optimizer=true", f"inputs_dir={tmp_path / 'other'}"]
    tuned = continued("tuned", first, *options, "train_size=2", "max_epoch=20")
    losses = [line[1] for line in tuned.display.losses]
    assert losses[-1] < losses[0]
    assert {e.name for e in tuned.training.train.examples} < {"x0", "x1", "x2"}
    # The means stay those of the earlier run, the parameters do not.
    before, after = first.model(), tuned.model()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("network/") for name in changed)


def test_a_model_cannot_go_on_with_another_basis(
    trainer: Trainer, continued: Callable[..., Any], tmp_path: Path
) -> None:
    first = trainer("first")
    cases = {
        "shells": {"orbital_map": {"H": (0, 0), "C": (0, 0)}},
        "element": {"elements": ("H", "O"), "orbital_map": {"H": (0,), "O": (0, 0)}},
    }
    for name, case in cases.items():
        random_folder(tmp_path / name / "dft" / "1", atoms=2, cutoff=2.8, **case)
        random_folder(tmp_path / name / "dft" / "2", atoms=2, cutoff=2.8, seed=2, **case)
        with pytest.raises(InputError, match="the earlier model knows"):
            continued(
                f"run_{name}", first, "new_training_data=true", f"inputs_dir={tmp_path / name}",
                "train_size=1",
            )  # fmt: skip


def test_an_optimiser_of_another_kind_cannot_go_on(
    trainer: Trainer, continued: Callable[..., Any]
) -> None:
    first = trainer("first", "max_epoch=1")
    for number, other in enumerate(("optimizer.type=sgd", "scheduler.type=warmup_cosine_decay")):
        with pytest.raises(InputError, match=r"other settings .*new_optimizer = true"):
            continued(f"a{number}", first, other)
        fresh = continued(f"b{number}", first, other, "max_epoch=1", "new_optimizer=true")
        assert fresh.summary.epochs == 1


def test_an_earlier_run_must_be_named(trainer: Trainer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="previous_output_dir"):
        trainer("run", "continued.enable=true")


# --- what cannot be trained on --------------------------------------------------------------------


def test_nan_in_a_hamiltonian_is_named(trainer: Trainer, tmp_path: Path) -> None:
    for number in range(2):
        random_folder(tmp_path / "bad" / "dft" / str(number), atoms=2, seed=number, cutoff=2.8)
    folder = StructureFolder(tmp_path / "bad" / "dft" / "1", "1")
    matrix = folder.hamiltonian()
    matrix.entries[5] = np.nan
    matrix.write(folder.file("hamiltonian"))
    with pytest.raises(InputError, match=r"dft/1/hamiltonian\.h5: entries: NaN or inf"):
        trainer("run", f"inputs_dir={tmp_path / 'bad'}", "train_size=2", "validate_size=0")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": [], "validate": ["0001"]}, "the list train of the split is empty"),
        ({"train": ["9999"]}, "no structure '9999' among 5 structures"),
    ],
)
def test_a_split_must_name_structures(
    trainer: Trainer, tmp_path: Path, split: dict[str, list[str]], message: str
) -> None:
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match=message):
        trainer("run", f"dataset_split_json={tmp_path / 'split.json'}")


def test_a_loss_that_is_no_number_ends_in_one_line(trainer: Trainer) -> None:
    with pytest.raises(InputError, match=r"training loss is (nan|inf) in epoch \d+: lower"):
        trainer("run", "init_learning_rate=1e30", "max_epoch=20", "optimizer.type=sgd")


def test_magnetic_data_are_refused(trainer: Trainer, tmp_path: Path) -> None:
    for number in range(2):
        random_folder(
            tmp_path / "bad" / "dft" / str(number), atoms=2, seed=number, cutoff=2.8, spin="soc"
        )
    with pytest.raises(InputError, match="the Hamiltonian is magnetic"):
        trainer("run", f"inputs_dir={tmp_path / 'bad'}", "train_size=2", "validate_size=0",
                "net_irreps=8x0e+6x1o+4x2e+2x3o")  # fmt: skip


# --- unusual data ---------------------------------------------------------------------------------


def far_pairs_removed(path: Path, quantity: str) -> None:
    folder = StructureFolder(path, path.name)
    matrix = folder.matrix(quantity)
    near = np.linalg.norm(folder.structure.pair_vectors(matrix.atom_pairs), axis=1) < 2.45
    assert not near.all()
    matrix.on_pairs(matrix.atom_pairs[near]).write(folder.file(quantity), quantity)


@pytest.mark.parametrize("shorter", ["overlap", "hamiltonian"])
def test_pairs_of_overlap_and_hamiltonian_may_differ(
    trainer: Trainer, tmp_path: Path, shorter: str
) -> None:
    root = tmp_path / "data"
    for number in range(2):
        random_folder(root / "dft" / str(number), atoms=3, seed=number, cutoff=3.0,
                      orbital_map={"H": (0,), "C": (0, 0)})  # fmt: skip
        far_pairs_removed(root / "dft" / str(number), shorter)
    options = [f"inputs_dir={root}", "train_size=2", "validate_size=0", "max_epoch=30"]
    edges = {}
    for kind in ("H", "HS"):
        run = trainer(kind, *options, f"graph_type={kind}")
        edges[kind] = [example.source.graph.edges for example in run.training.train.examples]
        losses = [line[1] for line in run.display.losses]
        assert losses[-1] < losses[0]
    if shorter == "overlap":
        assert edges["H"] == edges["HS"]
    else:
        assert np.all(np.array(edges["H"]) < np.array(edges["HS"]))


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_data_with_spin_but_without_moments_can_be_learned(
    trainer: Trainer,
    tmp_path: Path,
    spin: str,
    without_moments: Callable[[BlockMatrix], BlockMatrix],
) -> None:
    for number in range(3):
        path = tmp_path / "data" / "dft" / str(number)
        random_folder(path, atoms=2, seed=number, cutoff=2.8, spin=spin,
                      orbital_map={"H": (0,), "C": (0, 1)})  # fmt: skip
        folder = StructureFolder(path, path.name)
        without_moments(folder.hamiltonian()).write(folder.file("hamiltonian"))
    run = trainer("run", f"inputs_dir={tmp_path / 'data'}", "train_size=2", "max_epoch=20",
                  "net_irreps=8x0e+6x1o+4x2e+2x3o")  # fmt: skip
    losses = [line[1] for line in run.display.losses]
    assert losses[-1] < losses[0]
    ((_, found),) = Predictor.load(run.folder).predict([folder])
    assert found.dtype == (np.complex128 if spin == "soc" else np.float64)
    assert_hermitian(found, 0.0)
    expected = folder.hamiltonian().on_pairs(found.atom_pairs, found.chunk_shapes)
    size = np.abs(expected.entries).mean()
    assert np.abs(found.entries - expected.entries).mean() < 0.2 * size
    again = without_moments(found)
    np.testing.assert_allclose(again.entries, found.entries, atol=1e-12)


def test_atoms_without_neighbours_can_be_learned(trainer: Trainer, tmp_path: Path) -> None:
    for number, symbol in enumerate(("H", "C")):
        path = tmp_path / "data" / "dft" / str(number)
        path.mkdir(parents=True)
        structure = Structure(
            20 * np.eye(3), np.zeros((1, 3)), np.array([{"H": 1, "C": 6}[symbol]])
        )
        shells = {symbol: {"H": (0,), "C": (0, 0)}[symbol]}
        assert len(neighbour_pairs(structure, 3.0)) == 1
        for quantity, matrix in zip(
            ("overlap", "hamiltonian"), toy_matrices(structure, shells, cutoff=3.0), strict=True
        ):
            matrix.write(path / f"{quantity}.h5", quantity)
        structure.write(path / "POSCAR")
        SystemInfo.for_structure(structure, shells, spin="none").write(path / "info.json")
    run = trainer("run", f"inputs_dir={tmp_path / 'data'}", "train_size=2", "validate_size=0")
    assert run.summary.epochs == 4
    assert np.isfinite(run.summary.best_loss)


def test_double_precision_is_double_throughout(trainer: Trainer) -> None:
    with double_precision():
        run = trainer("run", "float_type=fp64", "max_epoch=1")
    assert {array.dtype for array in run.model().values()} == {np.dtype(np.float64)}
    single = trainer("single", "max_epoch=1")
    np.testing.assert_allclose(run.display.losses[0][1], single.display.losses[0][1], rtol=1e-3)
    kinds = {name: array.dtype for name, array in single.model().items()}
    assert {kind for name, kind in kinds.items() if name.startswith("network/")} == {
        np.dtype(np.float32)
    }

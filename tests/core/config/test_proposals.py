"""Values that follow from the data, sizes of the split, the fingerprint of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from deeph.config import TrainConfig, describe, fingerprint, train_settings
from deeph.config import resolve_training as resolve
from deeph.config.device import Device, parse_device
from deeph.config.irreps import missing_irreps, parse_irreps, proposed_irreps, target_irreps
from deeph.config.process import TrainLoader
from deeph.config.split import structure_counts
from deeph.layers import with_both_parities
from deeph.networks import NetworkSpecification
from deeph.representation import BlockRepresentation
from deeph_spec.errors import InputError


def settings(folder: Path, *overrides: str) -> TrainConfig:
    data = {"inputs_dir": str(folder), "outputs_dir": str(folder / "runs")}
    return train_settings({"data": data}, overrides=overrides)


def resolve_training(
    config: TrainConfig, shells: dict[str, tuple[int, ...]], spin_orbit: bool, structures: int
) -> TrainConfig:
    """Resolve settings for a Hamiltonian between these shells."""
    return resolve(config, target_irreps(shells, spin_orbit), shells, structures)


def test_irreps_are_read_in_order() -> None:
    assert parse_irreps("64x0e + 32x1o+2e") == ((64, 0, 1), (32, 1, -1), (1, 2, 1))


@pytest.mark.parametrize(
    ("shells", "spin_orbit", "irreps"),
    [
        ((0,), False, "0e"),
        ((0,), True, "0e 1e"),
        ((0, 0, 1), False, "0e 1e 1o 2e"),
        ((0, 1, 2), False, "0e 1e 1o 2e 2o 3e 3o 4e"),
        ((0, 1), True, "0e 0o 1e 1o 2e 2o 3e"),
    ],
)
def test_targets_of_a_set_of_shells(shells: tuple[int, ...], spin_orbit: bool, irreps: str) -> None:
    expected = [(n, sign) for text in irreps.split() for _, n, sign in parse_irreps(text)]
    assert target_irreps({"C": shells, "H": (0,)}, spin_orbit) == tuple(expected)


@pytest.mark.parametrize("spin", ["none", "soc"])
def test_the_targets_are_the_channels_of_a_block(spin: str) -> None:
    shells = (0, 1, 1, 3)
    table = BlockRepresentation.of({"C": shells}, spin).channels
    found = {(j, (-1) ** j if natural else -((-1) ** j))
             for j, natural in zip(table.j.tolist(), table.natural, strict=True)}  # fmt: skip
    assert found == set(target_irreps({"C": shells}, spin == "soc"))


@pytest.mark.parametrize("spin_orbit", [False, True])
@pytest.mark.parametrize("net_type", ["normal", "accurate"])
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("width", [1, 0.05])
def test_what_is_proposed_can_express_the_targets(
    net_type: str, parity: bool, spin_orbit: bool, width: float
) -> None:
    targets = target_irreps({"C": (0, 1, 2, 3)}, spin_orbit)
    irreps = proposed_irreps(max(n for n, _ in targets), parity, net_type, width)
    assert not missing_irreps(irreps, parity, targets)
    smaller = irreps.rpartition("+")[0]
    assert missing_irreps(smaller, parity, targets)
    counts = [count for count, _, _ in parse_irreps(irreps)]
    assert counts == sorted(counts, reverse=True)


def test_what_the_file_leaves_out_is_proposed_once(tmp_path: Path) -> None:
    config = settings(tmp_path, "validate_size=2")
    resolved = resolve_training(config, {"C": (0, 0, 1, 1, 2)}, False, 10)
    assert resolved.model.advanced.net_irreps == "64x0e+32x1o+32x2e+16x3o+16x4e"
    assert resolved.process.train.dataloader.train_size == 8
    assert any("net_irreps" in line and "(proposed)" in line for line in describe(resolved))
    again = resolve_training(resolved, {"C": (0, 0, 1, 1, 2)}, False, 10)
    assert again == resolved


def test_features_that_are_too_small_name_the_smallest_that_work(tmp_path: Path) -> None:
    def problem(spin_orbit: bool, *overrides: str) -> str:
        with pytest.raises(InputError) as caught:
            resolve_training(settings(tmp_path, *overrides), {"C": (0, 1)}, spin_orbit, 4)
        return str(caught.value)

    line = problem(False, "net_irreps=8x0e+8x1o")
    assert "8x0e+8x1o cannot express all that these data contain: 2e is missing" in line
    assert "the smallest features that can are 1x0e+1x1e+1x1o+1x2e (" in line
    assert "64x0e+32x1o+32x2e" in line
    # Natural features are completed by the network; others have to be complete themselves.
    line = problem(True, "net_irreps=8x0e+8x1o+8x1e+8x2e+8x3o")
    assert "0o, 2o, 3e are missing" in line
    assert "are 1x0e+1x0o+1x1e+1x1o+1x2e+1x2o+1x3e (" in line
    line = problem(False, "net_irreps=8x0e+8x1e+8x2e")
    assert "1o is missing" in line
    assert "consider_parity = false" in line
    line = problem(False, "net_irreps=8x0e+8x2e", "consider_parity=false")
    assert "1e is missing; the smallest features that can are 1x0e+1x1e+1x2e (" in line


@pytest.mark.parametrize(
    "irreps", ["8x0e", "1x0e+2x1o", "2x0e+1x1o+1x2e", "4x0e+3x1o+1x3e", "4x0e+1x1e+2x2e", "2x1o"]
)
@pytest.mark.parametrize("parity", [False, True])
def test_what_is_missing_is_what_the_network_lacks(irreps: str, parity: bool) -> None:
    rep = BlockRepresentation.of({"C": (0, 1)}, "soc")
    counts = rep.channels.counts(rep.l_max)
    spec = NetworkSpecification(1, irreps, parity, 1, 5.0, 9.0, *counts, *counts)
    features = with_both_parities(spec.features, spec.node_target)
    targets = target_irreps({"C": (0, 1)}, True)
    lacking = {
        (n, sign if parity else 1)
        for n, sign in targets
        if n > features.l_max
        or not (features.natural if not parity or sign == (-1) ** n else features.unnatural)[n]
    }
    if not parity and "o" in irreps:
        irreps = irreps.replace("o", "e")
    assert set(missing_irreps(irreps, parity, targets)) == lacking


def test_common_shells_must_hold_every_element(tmp_path: Path) -> None:
    config = settings(tmp_path, "common_orbital_types=s2p1")
    resolve_training(config, {"C": (0, 1, 0)}, False, 4)
    with pytest.raises(InputError, match="s2p1 has 1 p shells but C has 2"):
        resolve_training(config, {"C": (0, 1, 1)}, False, 4)


@pytest.mark.parametrize(
    ("sizes", "available", "counts"),
    [
        ({}, 8, (8, 0, 0)),
        ({"validate_size": 1, "test_size": 2}, 8, (5, 1, 2)),
        ({"train_size": 6}, 8, (6, 0, 0)),
        ({"train_size": 1}, 8, (1, 0, 0)),
        ({"train_size": 0.5, "validate_size": 0.25}, 8, (4, 2, 0)),
        ({"validate_size": 0.1}, 20, (18, 2, 0)),
        ({"train_size": 0.5, "validate_size": 0.25, "test_size": 0.25}, 7, (3, 2, 2)),
    ],
)
def test_sizes_become_numbers(
    sizes: dict[str, float], available: int, counts: tuple[int, int, int]
) -> None:
    assert structure_counts(TrainLoader(**sizes), available) == counts


def test_sizes_beyond_the_data_are_refused() -> None:
    with pytest.raises(InputError, match=r"ask for 9 structures .* but there are 8"):
        structure_counts(TrainLoader(train_size=6, validate_size=3), 8)
    with pytest.raises(InputError, match="none is left to train on"):
        structure_counts(TrainLoader(validate_size=8), 8)


def test_the_fingerprint_sees_what_changes_numbers_and_nothing_else(tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text("{}")
    base = fingerprint(settings(tmp_path))
    same = (
        "note=x",
        "max_epoch=3",
        "max_minutes=1",
        "latest_num=2",
        "log_level=debug",
        "device=cpu",
    )
    for text in same:
        assert fingerprint(settings(tmp_path, text)) == base, text
    for text in ("random_seed=1", "loss_type=mae", "num_blocks=2", "batch_size=2"):
        assert fingerprint(settings(tmp_path, text)) != base, text
    assert fingerprint(settings(tmp_path, "momentum=0.1")) == base  # not read by adamw
    one = fingerprint(settings(tmp_path, f"dataset_split_json={split}"))
    split.write_text('{"train": []}')
    assert one != base
    assert fingerprint(settings(tmp_path, f"dataset_split_json={split}")) != one


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", Device("cpu", (0,))),
        ("cpu*1:3", Device("cpu", (0,))),
        ("gpu", Device("gpu", (0,))),
        ("gpu*8:0", Device("gpu", (0,))),
        ("CUDA*4:2-2", Device("cuda", (2,))),
        ("dcu*1", Device("rocm", (0,))),
        ("tpu", Device("tpu", (0,))),
    ],
)
def test_the_device_grammar(text: str, device: Device) -> None:
    assert parse_device(text) == device
    assert parse_device(str(device)) == device


@pytest.mark.parametrize(
    "text", ["", "gpu*", "gpu*0", "gpu*2:1-", "gpu*2:-1", "gpu*2:0-1-2", "gpu8"]
)
def test_what_is_not_in_the_device_grammar(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|device|range"):
        parse_device(text)

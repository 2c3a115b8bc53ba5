"""Values that follow from the data, sizes of the split, the fingerprint of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from deeph.config import TrainConfig, describe, fingerprint, resolve_training, train_settings
from deeph.config.device import Device, parse_device
from deeph.config.irreps import largest_l, needed_l, parse_irreps, proposed_irreps
from deeph.config.split import structure_counts
from deeph.config.training import TrainLoader
from deeph_spec.errors import InputError


def settings(folder: Path, *overrides: str) -> TrainConfig:
    data = {"inputs_dir": str(folder), "outputs_dir": str(folder / "runs")}
    return train_settings({"data": data}, overrides=overrides)


def test_irreps_are_read_in_order() -> None:
    assert parse_irreps("64x0e + 32x1o+2e") == ((64, 0, 1), (32, 1, -1), (1, 2, 1))


@pytest.mark.parametrize(
    ("shells", "spinful", "degree"),
    [((0, 0, 1), False, 2), ((0, 1, 2), False, 4), ((0, 1, 2), True, 5), ((0,), False, 0)],
)
def test_features_reach_twice_the_largest_orbital(
    shells: tuple[int, ...], spinful: bool, degree: int
) -> None:
    assert needed_l({"C": shells, "H": (0,)}, spinful) == degree
    for parity in (True, False):
        irreps = proposed_irreps(degree, parity)
        assert largest_l(irreps) == degree
        signs = [(-1) ** n if parity else 1 for _, n, _ in parse_irreps(irreps)]
        assert [sign for _, _, sign in parse_irreps(irreps)] == signs


def test_what_the_file_leaves_out_is_proposed_once(tmp_path: Path) -> None:
    config = settings(tmp_path, "validate_size=2")
    resolved = resolve_training(config, {"C": (0, 0, 1, 1, 2)}, False, 10)
    assert resolved.model.advanced.net_irreps == "64x0e+32x1o+32x2e+16x3o+16x4e"
    assert resolved.process.train.dataloader.train_size == 8
    assert any("net_irreps" in line and "(proposed)" in line for line in describe(resolved))
    again = resolve_training(resolved, {"C": (0, 0, 1, 1, 2)}, False, 10)
    assert again == resolved


def test_features_that_are_too_small_name_the_smallest_that_work(tmp_path: Path) -> None:
    config = settings(tmp_path, "net_irreps=8x0e+8x1o")
    with pytest.raises(InputError, match=r"ends at l = 1.*need l = 3.*64x0e\+32x1o\+32x2e\+16x3o"):
        resolve_training(config, {"C": (0, 1)}, True, 4)


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

"""Every warning: it comes when it should, and it never makes a folder invalid."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from deeph_spec.validation import RULES, validate_dataset, validate_folder

H, S, RHO = "hamiltonian.h5", "overlap.h5", "density_matrix.h5"


def rows_of_pairs(arrays):
    return {tuple(pair): row for row, pair in enumerate(arrays["atom_pairs"].tolist())}


def off_site(arrays):
    return np.flatnonzero((arrays["atom_pairs"][:, :3] != 0).any(axis=1))


def disturb(b, name, size):
    """Add to one entry of one off-site block."""

    def change(arrays):
        arrays["entries"][arrays["chunk_boundaries"][off_site(arrays)[0]]] += size

    b.h5(name, change)


def scale(b, name, factor):
    b.h5(name, lambda arrays: arrays.__setitem__("entries", factor * arrays["entries"]))


def near_singular(b):
    """Make the first two s orbitals of C nearly equal, with the coupling to all others."""

    def change(arrays):
        for row, (*shift, i, j) in enumerate(arrays["atom_pairs"].tolist()):
            start, end = arrays["chunk_boundaries"][row : row + 2]
            block = arrays["entries"][start:end].reshape(arrays["chunk_shapes"][row])
            if i == 3:
                block[1] = block[0]
            if j == 3:
                block[:, 1] = block[:, 0]
            if shift == [0, 0, 0] and i == j == 3:
                block[:2, :2] = [[1.0, 1 - 1e-8], [1 - 1e-8, 1.0]]
            arrays["entries"][start:end] = block.ravel()

    b.h5(S, change)


def drop_a_pair(b):
    arrays = b.arrays(H)
    row = off_site(arrays)[0]
    pair = arrays["atom_pairs"][row]
    partner = (*(-pair[:3]).tolist(), int(pair[4]), int(pair[3]))
    b.reorder(
        H, np.delete(np.arange(len(arrays["atom_pairs"])), [row, rows_of_pairs(arrays)[partner]])
    )


def mostly_zero(b):
    def change(arrays):
        for row in off_site(arrays):
            start, end = arrays["chunk_boundaries"][row : row + 2]
            arrays["entries"][start:end] = 0

    b.h5(H, change)


def short_positions(b):
    b.lines(
        lambda lines: lines.__setitem__(
            slice(8, None), [" ".join(f"{float(x):.4f}" for x in s.split()) for s in lines[8:]]
        )
    )


def int32_boundaries(b):
    b.h5(H, lambda a: a.__setitem__("chunk_boundaries", a["chunk_boundaries"].astype(np.int32)))


CASES = [
    ("W01", H, lambda b: disturb(b, H, 1e-5), ["Hermitian error 1e-05 eV"]),
    ("W01", S, lambda b: disturb(b, S, 1e-7), ["Hermitian error 1e-07"]),
    ("W02", S, lambda b: scale(b, S, 1.2), ["1.2"]),
    ("W03", S, near_singular, ["S(Gamma)", "e-0"]),
    ("W04", H, drop_a_pair, ["0 pairs", "2 of overlap.h5"]),
    ("W05", H, mostly_zero, ["blocks are zero"]),
    ("W07", "info.json", lambda b: b.info(fermi_energy_eV=0.0), ["0.0"]),
    ("W07", H, lambda b: b.info(fermi_energy_eV=60.0), ["60 eV"]),
    ("W08", H, int32_boundaries, ["int32"]),
    ("W09", H, lambda b: scale(b, H, 1 / 27.2), ["looks like Hartree or Rydberg"]),
    ("W09", H, lambda b: scale(b, H, 1 / 13.6), ["looks like Hartree or Rydberg"]),
    ("W10", RHO, lambda b: scale(b, RHO, 0.5), ["one spin only", "multiply by 2"]),
    ("W10", RHO, lambda b: scale(b, RHO, 1.01), ["trace of rho S is 8.08", "occupation is 8"]),
    ("W11", "POSCAR", short_positions, ["4 decimals"]),
    ("W12", "", lambda b: (b.path / ".overlap.h5.host.12.tmp").write_bytes(b""), ["overlap.h5"]),
    ("W14", H, lambda b: (b.path / S).unlink(), ["overlap.h5"]),
]


@pytest.mark.parametrize(
    ("rule", "file", "change", "texts"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_a_warning_is_given_and_is_no_error(broken, rule, file, change, texts):
    folder = broken()
    change(folder)
    found = validate_folder(folder.path)
    assert {finding.severity for finding in found} == {"warning"}, "\n".join(map(str, found))
    matching = [finding for finding in found if (finding.rule, finding.file) == (rule, file)]
    assert matching, "\n".join(map(str, found))
    for text in texts:
        assert text in str(matching[0])
    assert str(matching[0]).startswith(f"warning {rule} {folder.path}")


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_a_missing_spin_is_derived_from_all_blocks(broken, spin):
    folder = broken(spin)
    folder.info(spin=...)
    (finding,) = validate_folder(folder.path)
    assert finding.rule == "W06"
    assert f"'{spin}'" in finding.message
    assert f'"spin": "{spin}"' in finding.remedy


def test_one_block_that_mixes_spins_makes_it_soc(broken):
    folder = broken("collinear")
    folder.info(spin=...)
    arrays = folder.arrays(H)
    row = arrays["atom_pairs"].shape[0] // 2
    r1, r2, r3, i, j = arrays["atom_pairs"][row].tolist()
    other = rows_of_pairs(arrays)[-r1, -r2, -r3, j, i]

    def change(arrays):
        for place, index in ((row, np.s_[0, -1]), (other, np.s_[-1, 0])):
            start, end = arrays["chunk_boundaries"][place : place + 2]
            arrays["entries"][start:end].reshape(arrays["chunk_shapes"][place])[index] = 0.01

    folder.h5(H, change)
    (finding,) = validate_folder(folder.path)
    assert "'soc'" in finding.message


def test_the_trace_of_a_spinful_density_counts_both_spins(broken):
    folder = broken("collinear")
    overlap = folder.arrays(S)
    half = json.loads((folder.path / "info.json").read_text())["occupation"] / 2
    scaled = overlap["entries"] * half / np.sum(overlap["entries"] ** 2)
    blocks = []
    for row, shape in enumerate(overlap["chunk_shapes"]):
        start, end = overlap["chunk_boundaries"][row : row + 2]
        blocks.append(np.kron(np.eye(2), scaled[start:end].reshape(shape)).ravel())
    density = overlap | {
        "entries": np.concatenate(blocks),
        "chunk_shapes": 2 * overlap["chunk_shapes"],
        "chunk_boundaries": 4 * overlap["chunk_boundaries"],
    }
    folder.store(RHO, density)
    assert validate_folder(folder.path) == []
    density["entries"] = 1.1 * density["entries"]
    folder.store(RHO, density)
    assert [finding.rule for finding in validate_folder(folder.path)] == ["W10"]


@pytest.mark.parametrize(
    ("file", "document"),
    [
        ("features.json", {"dft_data_num": 1, "dft_dirname_list": ["0002"]}),
        ("dft/features.json", {"dft_dirname_list": ["0001", "0002"]}),
        ("features_preview.json", {"all_dft_dirname": []}),
    ],
)
def test_a_stale_list_of_folders(broken, file, document):
    folder = broken()
    (folder.root / file).write_text(json.dumps(document))
    (finding,) = validate_dataset(folder.root)
    assert (finding.rule, finding.severity) == ("W13", "warning")
    key = next(key for key in document if "dirname" in key)
    (folder.root / file).write_text(json.dumps({key: ["0001"]}))
    assert validate_dataset(folder.root) == []


def test_every_warning_has_a_test():
    tested = {case[0] for case in CASES} | {"W06", "W13"}
    assert tested == {rule for rule in RULES if rule.startswith("W")}


def test_symmetric_positions_need_no_decimals(broken):
    folder = broken()
    shutil.copy(folder.path / "POSCAR", folder.path / "saved")
    folder.lines(lambda lines: lines.__setitem__(slice(8, None), ["0.0 0.0 0.0", "0.5 0.5 0.5"]))
    folder.lines(lambda lines: lines.__setitem__(7, "Direct"))
    folder.lines(lambda lines: lines.__setitem__(6, "1 1"))
    folder.lines(lambda lines: lines.__setitem__(5, "O H"))
    assert "W11" not in {finding.rule for finding in validate_folder(folder.path)}

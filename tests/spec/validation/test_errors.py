"""Every error E01 to E40: a healthy folder is broken in one way, and the finding says so."""

from __future__ import annotations

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from deeph_spec.validation import RULES, validate_dataset, validate_folder

H, S = "hamiltonian.h5", "overlap.h5"
COUNTED_FROM_ONE = np.array([0, 0, 0, 1, 1])


def errors(folder):
    return [finding for finding in validate_folder(folder) if finding.severity == "error"]


def put(line, text):
    return lambda lines: lines.__setitem__(line - 1, text)


def swap(key, change):
    """Give a change of one dataset."""
    return lambda arrays: arrays.__setitem__(key, change(arrays[key]))


def at(index, value):
    """Give a change of one element."""

    def change(array):
        array = array.copy()
        array[index] = value
        return array

    return change


def without_row(arrays, row):
    keep = np.delete(np.arange(len(arrays["atom_pairs"])), row)
    return keep


def off_site_row(arrays):
    pairs = arrays["atom_pairs"]
    return int(np.flatnonzero((pairs[:, :3] != 0).any(axis=1))[0])


def on_site_row(arrays, atom=0):
    pairs = arrays["atom_pairs"]
    return int(np.flatnonzero((pairs == [0, 0, 0, atom, atom]).all(axis=1))[0])


def charges_of_one_atom(path):
    with h5py.File(path / "targets.h5", "w") as file:
        file["charges"] = np.zeros((1, 1))
        file["charges"].attrs["irreps"] = "1x0e"


def drop_off_site(b):
    arrays = b.arrays(H)
    b.reorder(H, without_row(arrays, off_site_row(arrays)))


def drop_on_site(b):
    arrays = b.arrays(S)
    b.reorder(S, without_row(arrays, on_site_row(arrays, 2)))


def twice(b):
    rows = np.arange(len(b.arrays(S)["atom_pairs"]))
    b.reorder(S, np.append(rows, 3))


def entry(row_of, value, index=0):
    """Give a change of one entry in one block."""

    def change(arrays):
        place = arrays["chunk_boundaries"][row_of(arrays)] + index
        arrays["entries"][place] = value

    return change


def doubled(arrays):
    """Write S as diag(S, S)."""
    blocks = []
    for row, (height, width) in enumerate(arrays["chunk_shapes"]):
        start, end = arrays["chunk_boundaries"][row : row + 2]
        block = arrays["entries"][start:end].reshape(height, width)
        blocks.append(np.kron(np.eye(2), block).ravel())
    arrays["chunk_shapes"] = 2 * arrays["chunk_shapes"]
    arrays["chunk_boundaries"] = 4 * arrays["chunk_boundaries"]
    arrays["entries"] = np.concatenate(blocks)


def other_structure(arrays):
    """Atoms 0 and 1 have exchanged their orbitals."""
    pairs = arrays["atom_pairs"]
    pairs[:, 3:] = np.array([3, 1, 2, 0])[pairs[:, 3:]]


def group_instead(b):
    with h5py.File(b.path / S, "a") as file:
        del file["entries"]
        file.create_group("entries")


def link_to_nowhere(b):
    with h5py.File(b.path / S, "a") as file:
        del file["entries"]
        file["entries"] = h5py.ExternalLink("gone.h5", "/entries")


def split(b, **sets):
    (b.root / "dataset_split.json").write_text(json.dumps(sets))


def second_folder(b, **changes):
    shutil.copytree(b.path, b.root / "dft" / "0002")
    path = b.root / "dft" / "0002" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def copied_atom(lines):
    lines[9] = lines[8]


def image_atom(lines):
    """Put atom 1 one lattice vector away from atom 0."""
    vector = np.array(lines[2].split(), float) + np.array(lines[8].split(), float)
    lines[9] = " ".join(f"{x:.17g}" for x in vector)


def truncate(b, name, size=-10):
    content = (b.path / name).read_bytes()
    (b.path / name).write_bytes(content[:size])


CASES = [
    ("E01", "POSCAR", "", "none", lambda b: (b.path / "POSCAR").unlink()),
    ("E02", "info.json", "", "none", lambda b: (b.path / "info.json").unlink()),
    ("E03", "POSCAR", "line 9", "none", lambda b: b.lines(put(9, "0.0 nan 0.0"))),
    ("E03", "POSCAR", "line 10", "none", lambda b: b.lines(put(10, "0.0 0.0"))),
    ("E03", "POSCAR", "line 12", "none", lambda b: b.lines(lambda lines: lines.pop())),
    ("E03", "POSCAR", "line 3", "none", lambda b: b.lines(put(3, "inf 0 0"))),
    ("E04", "POSCAR", "line 6", "none", lambda b: b.lines(lambda lines: lines.pop(5))),
    ("E04", "POSCAR", "line 6", "none", lambda b: b.lines(put(6, "O_s H C"))),
    ("E04", "POSCAR", "line 6", "none", lambda b: b.lines(put(6, "O H Qq"))),
    ("E04", "POSCAR", "line 7", "none", lambda b: b.lines(put(7, "2 2"))),
    ("E04", "POSCAR", "line 7", "none", lambda b: b.lines(put(7, "4 0 0"))),
    ("E05", "POSCAR", "lattice", "none", lambda b: b.lines(put(3, "0 0 0"))),
    ("E06", "POSCAR", "positions", "none", lambda b: b.lines(copied_atom)),
    ("E06", "POSCAR", "positions", "none", lambda b: b.lines(image_atom)),
    ("E07", "info.json", "", "none", lambda b: (b.path / "info.json").write_text("{")),
    ("E07", "info.json", "", "none", lambda b: (b.path / "info.json").write_text("[1]")),
    ("E07", "info.json", "", "none", lambda b: b.info(x=float("nan"))),
    (
        "E07",
        "info.json",
        "a",
        "none",
        lambda b: (b.path / "info.json").write_text('{"a": 1, "a": 2}'),
    ),
    ("E08", "info.json", "spinful", "none", lambda b: b.info(spinful=...)),
    ("E08", "info.json", "spinful", "none", lambda b: b.info(spinful="true")),
    ("E08", "info.json", "atoms_quantity", "none", lambda b: b.info(atoms_quantity=True)),
    ("E08", "info.json", "fermi_energy_eV", "none", lambda b: b.info(fermi_energy_eV=...)),
    ("E09", "info.json", "atoms_quantity", "none", lambda b: b.info(atoms_quantity=5)),
    ("E10", "info.json", "elements_orbital_map", "none", lambda b: b.shells(O=...)),
    ("E10", "info.json", "elements_orbital_map.O", "none", lambda b: b.shells(O=[0, 7])),
    ("E10", "info.json", "elements_orbital_map.O", "none", lambda b: b.shells(O=[])),
    ("E10", "info.json", "elements_orbital_map.O", "none", lambda b: b.shells(O=[True])),
    ("E11", "info.json", "orbits_quantity", "none", lambda b: b.info(orbits_quantity=27)),
    ("E12", "info.json", "spin", "none", lambda b: b.info(spin="soc")),
    ("E12", "info.json", "spin", "soc", lambda b: b.info(spin="none")),
    ("E12", "info.json", "spin", "none", lambda b: b.info(spin="both")),
    ("E13", "info.json", "format_version", "none", lambda b: b.info(format_version="2.0")),
    ("E13", "info.json", "format_version", "none", lambda b: b.info(format_version="one")),
    ("E14", "info.json", "occupation", "none", lambda b: b.info(occupation=-2)),
    ("E14", "info.json", "occupation", "none", lambda b: b.info(occupation=1000)),
    ("E15", H, "", "none", lambda b: (b.path / H).write_text("no HDF5")),
    ("E15", H, "", "none", lambda b: truncate(b, H)),
    ("E15", S, "", "none", lambda b: truncate(b, S, 100)),
    ("E15", S, "", "none", lambda b: (b.path / S).write_bytes(b"")),
    ("E16", H, "entries", "none", lambda b: b.h5(H, lambda arrays: arrays.pop("entries"))),
    ("E16", S, "entries", "none", group_instead),
    ("E16", S, "entries", "none", link_to_nowhere),
    ("E17", H, "atom_pairs", "none", lambda b: b.h5(H, swap("atom_pairs", lambda a: a[:, :4]))),
    ("E17", H, "atom_pairs", "none", lambda b: b.h5(H, swap("atom_pairs", lambda a: a * 1.0))),
    ("E17", H, "atom_pairs", "none", lambda b: b.h5(H, swap("atom_pairs", lambda a: a[:0]))),
    ("E18", H, "atom_pairs", "none", lambda b: b.h5(H, swap("atom_pairs", at((3, 4), 4)))),
    ("E18", H, "atom_pairs", "none", lambda b: b.h5(H, swap("atom_pairs", at((3, 4), -1)))),
    (
        "E18",
        H,
        "atom_pairs",
        "none",
        lambda b: b.h5(H, swap("atom_pairs", lambda a: a + COUNTED_FROM_ONE)),
    ),
    ("E19", S, "atom_pairs", "none", twice),
    ("E20", S, "atom_pairs", "none", drop_on_site),
    ("E21", H, "atom_pairs", "none", drop_off_site),
    (
        "E22",
        H,
        "chunk_shapes",
        "none",
        lambda b: b.h5(H, swap("chunk_shapes", lambda a: a[:, ::-1] + [0, 1])),
    ),
    ("E22", H, "chunk_shapes", "none", lambda b: b.shells(O=[0, 1, 1])),
    ("E22", H, "chunk_shapes", "none", lambda b: b.h5(H, swap("chunk_shapes", lambda a: a[:-1]))),
    ("E22", S, "chunk_shapes", "soc", lambda b: b.h5(S, doubled)),
    (
        "E23",
        H,
        "chunk_boundaries",
        "none",
        lambda b: b.h5(H, swap("chunk_boundaries", lambda a: a[:-1])),
    ),
    (
        "E23",
        H,
        "chunk_boundaries",
        "none",
        lambda b: b.h5(H, swap("chunk_boundaries", lambda a: a + 1)),
    ),
    ("E23", H, "chunk_boundaries", "none", lambda b: b.h5(H, swap("chunk_boundaries", at(2, 0)))),
    (
        "E24",
        H,
        "chunk_boundaries",
        "none",
        lambda b: b.h5(H, swap("chunk_boundaries", lambda a: (a + 2**31 - 9).astype(np.int32))),
    ),
    ("E25", H, "entries", "none", lambda b: b.h5(H, swap("entries", lambda a: a[:-1]))),
    ("E25", H, "entries", "none", lambda b: b.h5(H, swap("entries", lambda a: a[None]))),
    ("E25", H, "entries", "none", lambda b: b.h5(H, swap("entries", lambda a: a.astype(int)))),
    (
        "E25",
        "position_matrix.h5",
        "entries",
        "none",
        lambda b: b.h5("position_matrix.h5", swap("entries", lambda a: a[0])),
    ),
    ("E26", H, "entries", "none", lambda b: b.h5(H, entry(off_site_row, np.nan, 1))),
    ("E26", S, "entries", "none", lambda b: b.h5(S, entry(off_site_row, -np.inf))),
    ("E26", H, "entries", "soc", lambda b: b.h5(H, entry(off_site_row, complex(0, np.nan)))),
    (
        "E26",
        "position_matrix.h5",
        "entries",
        "none",
        lambda b: b.h5("position_matrix.h5", swap("entries", at((1, 5), np.nan))),
    ),
    ("E27", S, "entries", "none", lambda b: b.h5(S, swap("entries", lambda a: a + 0j))),
    ("E28", H, "entries", "none", lambda b: b.h5(H, swap("entries", lambda a: a + 0j))),
    ("E29", H, "entries", "soc", lambda b: b.h5(H, swap("entries", lambda a: a.real))),
    ("E30", H, "entries", "soc", lambda b: b.info(spin="collinear")),
    ("E31", S, "entries", "none", lambda b: b.h5(S, entry(on_site_row, -1.0))),
    ("E31", S, "entries", "none", lambda b: b.h5(S, entry(on_site_row, 0.0))),
    ("E31", S, "entries", "none", lambda b: b.h5(S, entry(off_site_row, 1.2))),
    ("E32", S, "entries", "none", lambda b: b.h5(S, entry(off_site_row, 0.3))),
    ("E33", H, "entries", "none", lambda b: b.h5(H, entry(off_site_row, 0.3))),
    ("E33", H, "entries", "none", lambda b: b.h5(H, entry(on_site_row, 0.3, 1))),
    ("E33", H, "entries", "soc", lambda b: b.h5(H, entry(off_site_row, 0.3j))),
    (
        "E33",
        "density_matrix.h5",
        "entries",
        "none",
        lambda b: b.h5("density_matrix.h5", entry(off_site_row, 1e-4)),
    ),
    ("E34", H, "entries", "none", lambda b: b.h5(H, swap("entries", lambda a: 0 * a))),
    ("E34", H, "entries", "none", lambda b: b.h5(H, entry(on_site_row, 1e7))),
    (
        "E37",
        "K_PATH",
        "line 1",
        "none",
        lambda b: (b.path / "K_PATH").write_text("20 0 0 0 0.5 0 0 G\n"),
    ),
    (
        "E37",
        "K_PATH",
        "line 3",
        "none",
        lambda b: (b.path / "K_PATH").write_text("# k\n\n1 0 0 0 0.5 0 0 G M\n"),
    ),
    (
        "E37",
        "K_PATH",
        "line 2",
        "none",
        lambda b: (b.path / "K_PATH").write_text("9 0 0 0 0.5 0 0 G M\n9 0 0 0 0.5 nan 0 G M\n"),
    ),
    ("E38", H, "chunk_shapes", "none", lambda b: b.h5(S, other_structure)),
    ("E40", "targets.h5", "charges", "none", lambda b: charges_of_one_atom(b.path)),
]
DATASET_CASES = [
    ("E35", "dft/0002/info.json", "spinful", lambda b: second_folder(b, spinful=True, spin="soc")),
    (
        "E35",
        "dft/0002/info.json",
        "elements_orbital_map.O",
        lambda b: second_folder(b, elements_orbital_map={"H": [0], "O": [0, 2, 1]}),
    ),
    ("E36", "dataset_split.json", "train", lambda b: split(b, train=["0009"])),
    ("E36", "dataset_split.json", "test", lambda b: split(b, train=["0001"], test=["0001"])),
    ("E36", "dataset_split.json", "train", lambda b: split(b, train=[1])),
    ("E36", "dataset_split.json", "train", lambda b: split(b, train="0001")),
    ("E36", "dataset_split.json", "", lambda b: (b.root / "dataset_split.json").write_text("{")),
    ("E39", "", "a/0002", lambda b: shutil.copytree(b.path, b.root / "dft" / "a" / "0002")),
    ("E39", "", "", lambda b: shutil.rmtree(b.root / "dft")),
]


def names(case):
    return f"{case[0]}-{case[1]}"


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_the_healthy_folders_have_no_findings(broken, spin):
    folder = broken(spin)
    assert validate_folder(folder.path) == []
    assert validate_dataset(folder.root) == []


@pytest.mark.parametrize(("rule", "file", "key", "spin", "change"), CASES, ids=map(names, CASES))
def test_a_broken_folder_is_rejected(broken, rule, file, key, spin, change):
    folder = broken(spin)
    change(folder)
    found = errors(folder.path)
    matching = [f for f in found if (f.rule, f.file, f.key) == (rule, file, key)]
    assert matching, "\n".join(map(str, found))
    (finding,) = matching
    text = str(finding)
    assert text.startswith(f"error {rule} {folder.path}/{file}: {key}".rstrip())
    assert "\n" not in text
    assert finding.message
    assert finding.remedy
    assert "E00" not in {finding.rule for finding in found}


@pytest.mark.parametrize(
    ("rule", "file", "key", "change"), DATASET_CASES, ids=map(names, DATASET_CASES)
)
def test_a_broken_dataset_is_rejected(broken, rule, file, key, change):
    folder = broken()
    change(folder)
    found = [finding for finding in validate_dataset(folder.root) if finding.severity == "error"]
    matching = [f for f in found if f.rule == rule and f.file == file and f.key == key]
    assert matching, "\n".join(map(str, found))
    assert str(matching[0]).startswith(f"error {rule} {folder.root}")
    assert matching[0].remedy
    assert "E00" not in {finding.rule for finding in found}


def test_every_error_has_a_test():
    tested = {case[0] for case in CASES} | {case[0] for case in DATASET_CASES}
    assert tested == {rule for rule in RULES if rule.startswith("E")} - {"E00"}
    assert {f"E{number:02d}" for number in range(1, 39)} <= tested


def message(broken, change, rule, spin="none"):
    folder = broken(spin)
    change(folder)
    (found,) = [finding for finding in errors(folder.path) if finding.rule == rule]
    return str(found)


def test_counting_spin_is_named(broken):
    assert "spin counted?" in message(
        broken, lambda b: b.info(orbits_quantity=2 * total_orbitals(b)), "E11"
    )


def total_orbitals(b):
    return json.loads((b.path / "info.json").read_text())["orbits_quantity"]


def test_counting_from_one_is_named(broken):
    text = message(
        broken, lambda b: b.h5(H, swap("atom_pairs", lambda a: a + COUNTED_FROM_ONE)), "E18"
    )
    assert "counted from 1?" in text


def test_a_doubled_overlap_is_named(broken):
    text = message(broken, lambda b: b.h5(S, doubled), "E22", "soc")
    assert "diag(S, S)" in text
    assert "quarter" in text


def test_a_missing_spin_doubling_is_named(broken):
    text = message(broken, lambda b: shutil.copy(b.path / S, b.path / H), "E22", "soc")
    assert "set spinful to false" in text


def test_a_doubled_hamiltonian_is_named(broken):
    folder = broken("collinear")
    folder.info(spinful=False, spin="none")
    (found,) = [finding for finding in errors(folder.path) if finding.rule == "E22"]
    assert "set spinful to true" in str(found)


def test_elements_and_sizes_of_a_wrong_block_are_named(broken):
    folder = broken()
    folder.shells(C=[0, 0])
    found = [finding for finding in errors(folder.path) if finding.rule == "E22"]
    assert {finding.file for finding in found} == {
        "overlap.h5",
        "hamiltonian.h5",
        "density_matrix.h5",
        "position_matrix.h5",
    }
    assert re.search(r"\d x \d, expected \d x \d, the orbitals of \w+ and \w+", str(found[0]))
    assert "C" in found[0].message


def test_numbers_of_orbitals_are_named(broken):
    text = message(broken, lambda b: b.info(orbits_quantity=27), "E11")
    assert "27 orbitals" in text
    assert "give 24" in text


def test_files_of_other_numbers_of_atoms_are_of_different_structures(broken):
    folder = broken()
    pairs = folder.arrays(S)["atom_pairs"]
    folder.reorder(S, np.flatnonzero((pairs[:, 3:] != 3).all(axis=1)))
    assert {"E20", "E38"} == {finding.rule for finding in errors(folder.path)}


def test_the_first_broken_block_is_named(broken):
    folder = broken()
    row = off_site_row(folder.arrays(H))
    folder.h5(H, entry(off_site_row, np.nan, 1))
    (found,) = errors(folder.path)
    r1, r2, r3, i, j = folder.arrays(H)["atom_pairs"][row].tolist()
    assert f"block {row}: R = ({r1}, {r2}, {r3}), i = {i}, j = {j}" in str(found)


def test_the_hermitian_error_is_measured_exactly(broken):
    folder = broken()
    arrays = folder.arrays(H)
    row = off_site_row(arrays)
    before = arrays["entries"][arrays["chunk_boundaries"][row]]
    folder.h5(H, entry(off_site_row, before + 0.125))
    (found,) = errors(folder.path)
    assert "0.125 eV" in found.message
    partner = folder.arrays(H)["atom_pairs"][row] * [-1, -1, -1, 1, 1]
    pair = f"R = ({', '.join(map(str, folder.arrays(H)['atom_pairs'][row, :3]))})"
    back = f"R = ({', '.join(map(str, partner[:3]))})"
    assert pair in found.message or back in found.message


def test_partners_of_other_shape_are_named_without_info(broken):
    folder = broken()
    (folder.path / "info.json").unlink()
    assert {finding.rule for finding in errors(folder.path)} == {"E02"}
    row = off_site_row(folder.arrays(H))
    shape = folder.arrays(H)["chunk_shapes"][row]
    folder.h5(H, swap("chunk_shapes", at(row, shape + np.array([1, 0]))))
    found = [finding for finding in errors(folder.path) if finding.file == H]
    assert {finding.rule for finding in found} == {"E22", "E23"}
    assert "transposed" in found[0].message


def test_files_without_a_common_pair_are_of_different_structures(broken):
    folder = broken()
    folder.h5(S, swap("atom_pairs", lambda a: a + np.array([9, 0, 0, 0, 0])))
    assert "E38" in {finding.rule for finding in errors(folder.path)}
    assert any("no pair in common" in finding.message for finding in errors(folder.path))


def test_a_broken_info_does_not_stop_the_comparison_of_the_others(broken):
    folder = broken()
    second_folder(folder, spinful=True, spin="soc")
    shutil.copytree(folder.path, folder.root / "dft" / "0000")
    (folder.root / "dft" / "0000" / "info.json").write_text("{")
    assert {"E07", "E35"} <= {finding.rule for finding in validate_dataset(folder.root)}


def test_a_word_in_a_path_is_named(broken):
    folder = broken()
    (folder.path / "K_PATH").write_text("9 0 0 zero 0.5 0 0 G M\n")
    (found,) = errors(folder.path)
    assert "zero" in found.message

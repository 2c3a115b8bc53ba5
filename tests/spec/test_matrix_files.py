"""Matrix files: everything a reader must take, what it refuses, and what is written."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
from deeph_spec.blocks import BlockMatrix, iter_read, read, read_pairs
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import write_in_pieces
from hypothesis import given
from hypothesis import strategies as st

KEYS = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")


def matrix(seed=0, atoms=5, dtype=np.float64, leading=()):
    rng = np.random.default_rng(seed)
    pairs = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 2, [0], *[np.arange(atoms)] * 2), axis=-1)
    pairs = rng.permutation(pairs.reshape(-1, 5))
    sizes = rng.integers(1, 6, atoms)
    zeros = BlockMatrix.zeros(pairs, sizes[pairs[:, 3:]], dtype)
    values = rng.normal(size=(*leading, zeros.entries.size)) * (1 + 1j * seed)
    if not np.issubdtype(dtype, np.complexfloating):
        values = values.real
    return zeros.with_entries(values.astype(dtype))


def equal(first, second):
    return all(np.array_equal(getattr(first, key), getattr(second, key)) for key in KEYS)


def write_raw(path, blocks, **changes):
    """Write with h5py alone; `changes` maps a key to arguments of create_dataset, or to None."""
    with h5py.File(path, "w") as file:
        for key in KEYS:
            arguments = changes.get(key, {})
            if arguments is not None:
                file.create_dataset(key, **({"data": getattr(blocks, key)} | arguments))
    return path


@given(
    st.integers(0, 1000),
    st.sampled_from(["f4", "f8", "c8", "c16"]),
    st.booleans(),
    st.sampled_from([(), (3,)]),
)
def test_written_and_read(tmp_path_factory, seed, dtype, compress, leading):
    path = tmp_path_factory.mktemp("h5") / "matrix.h5"
    blocks = matrix(seed, 3, np.dtype(dtype), leading)
    blocks.write(path, compress=compress)
    again = BlockMatrix.read(path)
    assert equal(again, blocks)
    assert again.dtype == blocks.dtype


@pytest.mark.parametrize(("quantity", "leading"), [("overlap", ()), ("gradient_matrix", (3,))])
def test_entries_come_in_pieces_in_any_order(tmp_path, quantity, leading):
    blocks = matrix(5, leading=leading)
    whole = tmp_path / "whole.h5"
    blocks.write(whole, quantity)
    path = tmp_path / "matrix.h5"
    edges = [0, 7, 8, 100, len(blocks.entries.T)]
    with write_in_pieces(path, blocks.atom_pairs, blocks.chunk_shapes, quantity) as put:
        assert not path.exists()
        for number in (2, 0, 3, 1):
            piece = slice(edges[number], edges[number + 1])
            put(piece.start, blocks.entries[..., piece])
    assert equal(read(path), blocks)
    with h5py.File(path) as file, h5py.File(whole) as other:
        assert dict(file.attrs) == dict(other.attrs)


def test_nothing_is_left_when_a_piece_fails(tmp_path):
    blocks = matrix(6)
    with (
        pytest.raises(ZeroDivisionError),
        write_in_pieces(
            tmp_path / "m.h5", blocks.atom_pairs, blocks.chunk_shapes, "overlap"
        ) as put,
    ):
        put(0, blocks.entries[:5] / (1 // 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entries", ["<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", ">c16"])
@pytest.mark.parametrize("index", ["<i4", ">i4", "<i8", ">i8"])
def test_every_type_and_byte_order_is_read(tmp_path, entries, index):
    blocks = matrix(1, dtype=np.dtype(entries).newbyteorder("="))
    changes = {key: {"data": getattr(blocks, key).astype(index)} for key in KEYS[:3]}
    changes["entries"] = {"data": blocks.entries.astype(entries)}
    path = write_raw(tmp_path / "m.h5", blocks, **changes)
    again = read(path)
    assert equal(again, blocks)
    assert again.dtype == np.dtype(entries).newbyteorder("=")
    assert again.dtype.isnative
    assert {getattr(again, key).dtype for key in KEYS[:3]} == {np.dtype(np.int64)}
    half = read(path, lambda pairs: pairs[:, 3] == 0)
    assert half.dtype == again.dtype


@pytest.mark.parametrize("index", ["u1", "u2", "u4", "u8", "i2"])
def test_unsigned_and_small_integers_are_read(tmp_path, index):
    blocks = matrix(2, atoms=3)
    small = blocks.on_pairs(blocks.atom_pairs[(blocks.atom_pairs[:, :3] == 0).all(axis=1)])
    changes = {key: {"data": getattr(small, key).astype(index)} for key in KEYS[:3]}
    assert equal(read(write_raw(tmp_path / "m.h5", small, **changes)), small)


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": True},
        {"compression": "gzip"},
        {"compression": "lzf"},
        {"compression": "gzip", "shuffle": True, "compression_opts": 9},
        {"chunks": (7,), "fletcher32": True},
        {"maxshape": (None,)},
    ],
)
def test_every_storage_is_read(tmp_path, storage):
    blocks = matrix(3)
    path = write_raw(tmp_path / "m.h5", blocks, entries={"data": blocks.entries} | storage)
    assert equal(read(path), blocks)
    assert sum(map(len, iter_read(path, 200))) == len(blocks)


def test_other_content_of_the_file_is_ignored(tmp_path):
    path = tmp_path / "m.h5"
    matrix(4).write(path)
    with h5py.File(path, "a") as file:
        file["note"] = "text"
        file["group/data"] = np.arange(3)
        file.attrs["mine"] = 1.0
    assert equal(read(path), matrix(4))


@given(st.integers(0, 50), st.integers(1, 4000), st.sampled_from([(), (3,)]))
def test_pieces_are_whole_blocks_in_order(tmp_path_factory, seed, limit, leading):
    path = tmp_path_factory.mktemp("h5") / "matrix.h5"
    blocks = matrix(seed, 3, leading=leading)
    blocks.write(path)
    pieces = list(iter_read(path, limit))
    largest = 8 * (3 if leading else 1) * int(blocks.chunk_shapes.prod(axis=1).max())
    assert all(piece.entries.nbytes <= max(limit, largest) for piece in pieces)
    assert np.array_equal(np.concatenate([piece.atom_pairs for piece in pieces]), blocks.atom_pairs)
    entries = np.concatenate([piece.entries for piece in pieces], axis=-1)
    assert np.array_equal(entries, blocks.entries)


@pytest.mark.parametrize("leading", [(), (3,)])
def test_some_pairs_are_read_without_the_others(tmp_path, leading, monkeypatch):
    blocks = matrix(5, leading=leading)
    path = tmp_path / "m.h5"
    blocks.write(path)
    monkeypatch.setattr("deeph_spec.matrix_files._GAP_BYTES", 16)
    wanted = np.flatnonzero(blocks.atom_pairs[:, 4] == 2)
    for where in (lambda pairs: pairs[:, 4] == 2, lambda pairs: np.flatnonzero(pairs[:, 4] == 2)):
        part = BlockMatrix.read(path, where)
        assert np.array_equal(part.atom_pairs, blocks.atom_pairs[wanted])
        for row, original in enumerate(wanted):
            assert np.array_equal(part.block(row), blocks.block(original))
    assert len(read(path, lambda pairs: pairs[:, 3] > 99)) == 0
    assert np.array_equal(read_pairs(path), blocks.atom_pairs)


def test_what_is_written(tmp_path):
    blocks = matrix(6)
    blocks.write(tmp_path / "a.h5", "overlap")
    blocks.write(tmp_path / "b.h5", "overlap")
    blocks.write(tmp_path / "c.h5", "position_matrix", compress=True)
    blocks.write(tmp_path / "d.h5", "hamiltonian_pred")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        attributes = dict(file.attrs)
        assert attributes == {"format_version": "1.0", "quantity": "overlap", "unit": "1"}
        assert set(file) == set(KEYS)
        assert {file[key].dtype for key in KEYS[:3]} == {np.dtype("<i8")}
        assert {file[key].chunks for key in KEYS} == {None}
    with h5py.File(tmp_path / "c.h5") as file:
        assert file.attrs["unit"] == "Å"
        entries = file["entries"]
        assert (entries.compression, entries.compression_opts, entries.shuffle) == ("gzip", 4, True)
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["unit"] == "eV"


def test_compressed_chunks_are_of_one_mebibyte(tmp_path):
    pairs = np.zeros((2, 5), np.int64)
    pairs[1, 4] = pairs[1, 3] = 1
    large = BlockMatrix.zeros(pairs, [[400, 400], [400, 400]])
    large.write(tmp_path / "m.h5", compress=True)
    with_directions = large.with_entries(np.zeros((3, 320_000), np.float32))
    with_directions.write(tmp_path / "r.h5", compress=True)
    with h5py.File(tmp_path / "m.h5") as file, h5py.File(tmp_path / "r.h5") as other:
        assert file["entries"].chunks == (2**17,)
        assert other["entries"].chunks == (1, 2**18)
    assert equal(read(tmp_path / "r.h5"), with_directions)


def test_an_empty_matrix_is_written_and_read(tmp_path):
    empty = BlockMatrix.zeros([], [])
    for compress in (False, True):
        empty.write(tmp_path / "m.h5", compress=compress)
        assert len(read(tmp_path / "m.h5")) == 0
        assert list(iter_read(tmp_path / "m.h5")) == []


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    matrix(7).write(path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        matrix(8).write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]


GOOD = matrix(9)


@pytest.mark.parametrize(
    ("changes", "rule", "key"),
    [
        ({"entries": None}, "E16", "entries"),
        ({"atom_pairs": None}, "E16", "atom_pairs"),
        ({"atom_pairs": {"data": GOOD.atom_pairs[:, :4]}}, "E17", "atom_pairs"),
        ({"atom_pairs": {"data": GOOD.atom_pairs.astype(float)}}, "E17", "atom_pairs"),
        ({"chunk_shapes": {"data": GOOD.chunk_shapes[:-1]}}, "E22", "chunk_shapes"),
        ({"chunk_shapes": {"data": -GOOD.chunk_shapes}}, "E22", "chunk_shapes"),
        ({"chunk_boundaries": {"data": GOOD.chunk_boundaries[:-1]}}, "E23", "chunk_boundaries"),
        ({"chunk_boundaries": {"data": GOOD.chunk_boundaries + 1}}, "E23", "chunk_boundaries"),
        ({"chunk_boundaries": {"data": GOOD.chunk_boundaries * 2}}, "E23", "chunk_boundaries"),
        ({"chunk_boundaries": {"data": 1}}, "E23", "chunk_boundaries"),
        ({"chunk_boundaries": {"data": -GOOD.chunk_boundaries}}, "E24", "chunk_boundaries"),
        ({"entries": {"data": GOOD.entries[:-1]}}, "E25", "entries"),
        ({"entries": {"data": GOOD.entries.astype(np.float16)}}, "E25", "entries"),
        ({"entries": {"data": GOOD.entries.astype(int)}}, "E25", "entries"),
        ({"entries": {"data": h5py.Empty("f8")}}, "E25", "entries"),
    ],
)
def test_what_is_no_matrix_is_refused_with_file_and_key(tmp_path, changes, rule, key):
    path = write_raw(tmp_path / "m.h5", GOOD, **changes)
    with pytest.raises(InputError) as caught:
        read(path)
    assert (caught.value.rule, caught.value.key) == (rule, key)
    assert str(caught.value).startswith(f"{path}: {key}: ")
    assert "\n" not in str(caught.value)


def test_a_group_or_a_broken_link_is_no_dataset(tmp_path):
    path = write_raw(tmp_path / "m.h5", GOOD, entries=None, chunk_shapes=None)
    with h5py.File(path, "a") as file:
        file.create_group("entries")
        file["chunk_shapes"] = h5py.ExternalLink("gone.h5", "/chunk_shapes")
    with pytest.raises(InputError, match="chunk_shapes"):
        read(path)


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "m.h5"
    with pytest.raises(InputError, match="no such file"):
        read(path)
    with pytest.raises(InputError, match="not a file"):
        read(tmp_path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"m\.h5: "):
        read_pairs(path)
    GOOD.write(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="truncated") as caught:
        read(path)
    assert caught.value.rule == "E15"


def test_damaged_chunks_are_named(tmp_path):
    path = write_raw(
        tmp_path / "m.h5", GOOD, entries={"data": GOOD.entries, "chunks": (8,), "fletcher32": True}
    )
    with h5py.File(path) as file:
        offset = file["entries"].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged") as caught:
        read(path)
    assert caught.value.rule == "E15"


def test_a_file_open_in_a_writer_is_named(tmp_path):
    path = tmp_path / "m.h5"
    script = (
        "import sys, h5py\n"
        "file = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "file['a'] = 1\n"
        "file.flush()\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(InputError, match="being written") as caught:
            read(path)
        writer.communicate(b"")
    assert caught.value.rule == "E15"


def test_a_locked_file_is_read(tmp_path):
    """Locks hang or fail on network file systems: a reader does not ask for them."""
    path = tmp_path / "m.h5"
    GOOD.write(path)
    script = (
        "import sys, fcntl\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        locker.stdout.readline()
        assert equal(read(path), GOOD)
        locker.communicate(b"")


def test_the_published_layout_is_read(dft_data):
    folder = dft_data("deeph/Bi2Se3_SOC_5/0001")
    hamiltonian = read(folder / "hamiltonian.h5")
    overlap = read(folder / "overlap.h5")
    assert hamiltonian.dtype == np.complex64
    assert len(hamiltonian) == len(overlap) == 383
    assert np.array_equal(hamiltonian.chunk_shapes, 2 * overlap.chunk_shapes)
    assert hamiltonian.hermitian_error()[0] < 1e-6

"""csr files of ABACUS: every style of head and number that is written reads back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.codes.abacus.csr import Csr, read_csr, read_position
from deeph_dock.codes.abacus.decimals import read_decimals
from deeph_dock.codes.abacus.headers import HEAD, kind_of
from deeph_dock.codes.abacus.numbers import complexes, integers, reals
from deeph_spec.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

BOX = """ #----------------------------------------------------------------------#
 #                               CSR Format                             #
 # The subsequent lines consist of three blocks of data, which are      #
 # values, column indices, row pointers.                                #
 #----------------------------------------------------------------------#

"""


@dataclass(frozen=True, eq=False)
class Toy:
    """Matrices of some lattice vectors, and how they are written."""

    cells: Sequence[tuple[int, int, int]]
    matrices: Sequence[NDArray[Any]]
    style: str = "A"
    name: str = "H"
    digits: int = 8
    step: int = 0

    def text(self) -> str:
        size = len(self.matrices[0])
        old = f"Matrix Dimension of {self.name}(R): {size}\n"
        old += f"Matrix number of {self.name}(R): {len(self.cells)}\n"
        head = {
            "A": f"STEP: {self.step}\n{old}",
            "B": old,
            "C": f"IONIC_STEP: {self.step + 1}\n{old}{BOX}",
            "D": (
                f" --- Ionic Step {self.step + 1} ---\n # print {self.name} matrix in real space "
                f"{self.name}(R)\n 1 # number of spin directions\n 1 # spin index\n"
                f" {size} # number of localized basis\n"
                f" {len(self.cells)} # number of Bravais lattice vector R\n\n"
                " user_defined_lattice\n 5.29177\n 1 0 0\n 0 1 0\n 0 0 1\n H O\n 2 1\n Direct\n"
                f" 0.24 0.76 0.5\n 0.76 0.24 0.5\n 0.5 0.5 0.5\n\n{BOX}"
            ),
        }[self.style]
        return head + "".join(map(self._part, self.cells, self.matrices))

    def _part(self, cell: tuple[int, int, int], matrix: NDArray[Any]) -> str:
        rows, columns = np.nonzero(matrix)
        values = [self._number(value) for value in matrix[rows, columns].tolist()]
        pointers = np.searchsorted(rows, np.arange(len(matrix) + 1)).tolist()
        first = "{} {} {} {}\n".format(*cell, len(values))
        if self.style in "AB":
            if not values:
                return first
            return first + "".join(_line(part) for part in (values, columns.tolist(), pointers))
        lists = [("values", values, 6), ("column indices", columns.tolist(), 16)]
        if self.style == "D" and not values:  # no blank line behind the pointers of nothing
            zeros = _wrapped(pointers, 16)
            return f" {first} # CSR values\n\n # CSR column indices\n\n # CSR row pointers\n{zeros}"
        lists.append(("row pointers", pointers, 16))
        marked = (f" # CSR {name}\n{_wrapped(items, width)}" for name, items, width in lists)
        return f" {first}{''.join(marked)}\n"

    def rounded(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Give a matrix with the digits that the file has."""
        parts = [matrix.real, matrix.imag]
        real, imaginary = (
            np.array([[float(f"{x:.{self.digits}e}") for x in row] for row in part.tolist()])
            for part in parts
        )
        return real + 1j * imaginary if np.iscomplexobj(matrix) else real

    def _number(self, value: complex) -> str:
        if isinstance(value, complex):
            return f"({value.real:.{self.digits}e},{value.imag:.{self.digits}e})"
        return f"{value:.{self.digits}e}"


def _line(items: Sequence[Any]) -> str:
    return "".join(f" {item}" for item in items) + "\n"


def _wrapped(items: Sequence[Any], width: int) -> str:
    return "".join(_line(items[k : k + width]) for k in range(0, len(items), width)) or "\n"


def dense(csr: Csr) -> dict[tuple[int, ...], NDArray[Any]]:
    """Give the matrix of each lattice vector."""
    size = csr.head.dimension
    found = np.zeros((len(csr.cells), size, size), csr.values.dtype)
    found[csr.images, csr.rows, csr.columns] = csr.values
    return {tuple(cell): matrix for cell, matrix in zip(csr.cells.tolist(), found, strict=True)}


def toy(
    seed: int = 0, size: int = 6, cells: int = 4, filled: float = 0.6, dtype: type = float
) -> Toy:
    """Make random matrices, the second of them empty, and the first not."""
    rng = np.random.default_rng(seed)
    images = [(n, -1, n % 2) for n in range(cells)]
    matrices = []
    for number in range(cells):
        values = rng.standard_normal((size, size)) * 10.0 ** rng.uniform(-9, 2, (size, size))
        matrix = values.astype(dtype)
        if dtype is complex:
            matrix += 1j * rng.standard_normal((size, size)) * 10.0 ** rng.uniform(-18, 0)
        matrix[rng.uniform(size=matrix.shape) > filled] = 0
        if number == 1:
            matrix[:] = 0
        matrix[0, 0] = 1.0 if number == 0 else matrix[0, 0]
        matrices.append(matrix)
    return Toy(images, matrices)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 40),
    cells=st.integers(1, 5),
    filled=st.floats(0.0, 1.0),
    style=st.sampled_from("ABCD"),
    digits=st.sampled_from((1, 5, 8, 8, 12, 16)),
    dtype=st.sampled_from((float, complex)),
    steps=st.integers(1, 3),
)
def test_whatever_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    size: int,
    cells: int,
    filled: float,
    style: str,
    digits: int,
    dtype: type,
    steps: int,
) -> None:
    """Also the last of several steps, numbers of other lengths, and empty matrices."""
    several = [
        replace(toy(seed + n, size, cells, filled, dtype), style=style, digits=digits, step=n)
        for n in range(steps)
    ]
    path = tmp_path_factory.mktemp("csr") / "any.csr"
    path.write_text("".join(one.text() for one in several))
    csr = read_csr(path)
    last = several[-1]
    assert csr.steps == steps
    assert csr.head.matrix == "H"
    assert csr.head.step == (None if style == "B" else steps - 1)
    found = dense(csr)
    assert list(found) == list(last.cells)
    for cell, matrix in zip(last.cells, last.matrices, strict=True):
        np.testing.assert_allclose(found[cell], last.rounded(matrix), rtol=3e-16, atol=0)


@pytest.mark.parametrize("style", "ABCD")
def test_heads_tell_what_a_file_holds(style: str) -> None:
    head = replace(toy(), style=style, name="S", step=3).text().encode()[:HEAD]
    assert kind_of(head) == ("S", None if style == "B" else 3, None)


def test_newer_heads_tell_the_spin_channel() -> None:
    text = replace(toy(), style="D").text().replace(" 1 # number of spin", " 2 # number of spin")
    text = text.replace(" 1 # spin index", " 2 # spin index")
    assert kind_of(text.encode()[:HEAD]) == ("H", 0, 1)


@pytest.mark.parametrize("head", [b"", b"\x00" * 90, b"Matrix", b"STEP: 1\nnothing\n", b"<xml>"])
def test_other_files_are_no_csr_files(head: bytes) -> None:
    assert kind_of(head) is None


class TestNumbers:
    """The fast way and the general way give the same, or say what is wrong."""

    @staticmethod
    def text(values: NDArray[np.float64]) -> bytes:
        return (" " + " ".join(f"{value:.8e}" for value in values) + "\n").encode()

    def test_fast_numbers_are_those_of_the_general_way(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.standard_normal(20000) * 10.0 ** rng.uniform(-13, 3, 20000)
        values[:4] = 0.0, -0.0, 1.0, -9.99999999e-14
        text = self.text(values)
        fast = read_decimals(text)
        assert fast is not None
        expected = np.fromstring(text, sep=" ")
        large = np.abs(expected) >= 1e-14
        assert np.array_equal(fast[0][large], expected[large])
        np.testing.assert_allclose(fast[0], expected, rtol=2.3e-16)

    def test_complex_numbers_come_in_pairs(self) -> None:
        rng = np.random.default_rng(1)
        values = rng.standard_normal(2000) + 1j * rng.standard_normal(2000) * 1e-6
        text = (" " + " ".join(f"({v.real:.8e},{v.imag:.8e})" for v in values) + "\n").encode()
        np.testing.assert_allclose(complexes(text), values, rtol=1e-7)
        assert read_decimals(text, 3 * len(values)) is not None

    def test_a_changed_byte_is_refused_or_harmless(self) -> None:
        rng = np.random.default_rng(2)
        text = self.text(rng.standard_normal(60))
        right = np.fromstring(text, sep=" ")
        refused = 0
        for _ in range(4000):
            at = int(rng.integers(len(text)))
            changed = text[:at] + bytes([rng.integers(256)]) + text[at + 1 :]
            fast = read_decimals(changed)
            if fast is None:
                refused += 1
            else:
                assert len(fast[0]) == len(right)
                assert np.count_nonzero(fast[0] != right) <= 1
        assert refused > 2000

    @pytest.mark.parametrize("text", [b" 1.0 x", b" 1.0e", b"1,5", b"nan?", b"1.0.0 2"])
    def test_what_is_no_number_is_refused(self, text: bytes) -> None:
        with pytest.raises(ValueError):
            reals(text)

    @pytest.mark.parametrize("text", [b"(1.0,2.0", b"(1.0 2.0)", b"(1.0,)", b"1.0,2.0)"])
    def test_complex_numbers_that_are_not_closed_are_refused(self, text: bytes) -> None:
        with pytest.raises(ValueError):
            complexes(text)

    def test_whole_numbers_only(self) -> None:
        assert integers(b" 1 2\n3\n").tolist() == [1, 2, 3]
        assert len(integers(b" \n")) == 0
        with pytest.raises(ValueError):
            integers(b"1 2.5 3")


def _changed(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


SMALL = Toy(
    [(0, 0, 0), (1, 0, 0)],
    [np.array([[1.0, 0.25], [0.25, 1.0]]), np.array([[0.0, 0.5], [0.125, 0.0]])],
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed("H(R): 2\n0", "H(R): 3\n0"), "expected 4 whole numbers, found the end"),
        (_changed("number of H(R): 2", "number of H(R): 1"), "text after the lattice vectors"),
        (_changed("number of H(R): 2", "number of H(R): 0"), "0 lattice vectors"),
        (_changed("Dimension of H(R): 2", "Dimension of H(R): 3"), "4 values and 7 indices"),
        (_changed("0 0 0 4", "0 0 0 3"), "4 values"),
        (_changed("0 0 0 4", "0 0 0 -4"), "-4 elements"),
        (_changed("0 0 0 4", "0 0 0 4000000000"), "4000000000 elements"),
        (_changed("1 0 0 2", "0 0 0 2"), "one is there twice"),
        (_changed("1 0 0 2", "1 0 99999 2"), "too far"),
        (_changed("1 0 0 2", "1 0 x 2"), "expected 4 whole numbers, found '1 0 x 2'"),
        (_changed(" 0 2 4\n", " 0 3 4\n"), "not ascending"),
        (_changed(" 0 2 4\n", " 0 5 4\n"), "do not rise"),
        (_changed(" 0 2 4\n", " 0 2 3\n"), "do not rise"),
        (_changed(" 0 1 0 1\n", " 0 2 0 1\n"), "column 2, there are 2"),
        (_changed(" 0 1 0 1\n", " 0 -1 0 1\n"), "column"),
        (_changed(" 0 1 0 1\n", " 1 0 0 1\n"), "not ascending"),
        (_changed("2.50000000e-01", "nan"), "not a finite number"),
        (_changed("2.50000000e-01", "inf"), "not a finite number"),
        (_changed("2.50000000e-01", "2.5x"), "no number|unmatched"),
        (lambda text: text[:60], "cut or damaged|expected"),
    ],
)
def test_every_damage_is_named(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "h.csr"
    path.write_text(change(SMALL.text()))
    with pytest.raises(InputError, match=message) as caught:
        read_csr(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("style", "AD")
def test_files_without_any_element_are_named(tmp_path: Path, style: str) -> None:
    path = tmp_path / "h.csr"
    path.write_text(Toy([(0, 0, 0)], [np.zeros((3, 3))], style=style).text())
    with pytest.raises(InputError, match="no elements at all"):
        read_csr(path)


def test_a_newer_head_without_all_its_lines_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.csr"
    text = replace(SMALL, style="D").text()
    path.write_text(text.replace("# number of localized basis", "# basis"))
    with pytest.raises(InputError, match="no line for the dimension"):
        read_csr(path)
    path.write_text(text[:100])
    with pytest.raises(InputError, match="no head of a csr file"):
        read_csr(path)
    path.write_text(text.replace("# CSR row pointers", "# pointers"))
    with pytest.raises(InputError, match="no '# CSR row pointers'"):
        read_csr(path)


def test_position_matrices_have_three_parts_each(tmp_path: Path) -> None:
    parts = [toy(seed).matrices[0] for seed in range(3)]
    lines = ["STEP: 0\nMatrix Dimension of r(R): 6\nMatrix number of r(R): 2\n"]
    for cell in ("0 0 0", "0 0 1"):
        lines.append(cell + "\n")
        for number, part in enumerate(parts):
            listed = "0\n" if cell == "0 0 1" and number == 1 else _position_part(part)
            lines.append(listed)
    path = tmp_path / "r.csr"
    path.write_text("".join(lines))
    found = read_position(path)
    for number, (csr, part) in enumerate(zip(found, parts, strict=True)):
        np.testing.assert_allclose(dense(csr)[0, 0, 0], part, rtol=1e-8)
        empty = number == 1
        assert dense(csr)[0, 0, 1].any() != empty


def _position_part(part: NDArray[np.float64]) -> str:
    _, rest = Toy([(0, 0, 0)], [part])._part((0, 0, 0), part).split("\n", 1)
    return f"{np.count_nonzero(part)}\n{rest}"

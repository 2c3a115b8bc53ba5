"""Records of a Fortran sequential file, read through a memory map.

Each record stands between two 4-byte integers that give its length in bytes:

    <n> <n bytes> <n>

The byte order is found from the first of them. Every length is checked against what is expected,
so that a file that is cut off, damaged or of another kind is noticed where it goes wrong.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import DTypeLike, NDArray

_LARGE = 2**22


class Records:
    """A file of records and the place up to which it has been read.

    Parameters
    ----------
    path : Path
        The file.
    first_lengths : tuple of int
        Lengths in bytes that the first record may have.

    Raises
    ------
    InputError
        If the file is empty or does not begin with a record of such a length.
    """

    def __init__(self, path: Path, first_lengths: tuple[int, ...]) -> None:
        self.path = path
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size < 4:
                raise InputError(
                    f"{path}: holds {size} bytes; the run did not write it, or a copy failed"
                )
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._bytes = np.frombuffer(self._map, dtype=np.uint8)
        self.at = 0
        orders: tuple[Literal["<", ">"], ...] = ("<", ">")
        lengths = []
        for self.byte_order in orders:
            lengths.append(self.next_length() or 0)
            if lengths[-1] in first_lengths:
                return
        raise InputError(
            f"{path}: begins with a record of {min(lengths, key=abs)} bytes, expected "
            f"{' or '.join(map(str, first_lengths))}: not a Fortran sequential file of this kind, "
            "or of a generation that is not known"
        )

    def __len__(self) -> int:
        """Give the size of the file in bytes."""
        return len(self._bytes)

    def next_length(self) -> int | None:
        """Give the length of the next record in bytes, None at the end of the file."""
        if self.at + 4 > len(self):
            return None
        return int(self._bytes[self.at : self.at + 4].view(f"{self.byte_order}i4")[0])

    def read(self, what: str, *fields: tuple[DTypeLike, int]) -> list[NDArray[Any]]:
        """Read one record.

        Parameters
        ----------
        what : str
            What it holds, for messages.
        *fields : (dtype, count)
            Its content from the beginning to the end.

        Returns
        -------
        list of arrays
            Each field as a copy in native byte order.

        Raises
        ------
        InputError
            If the record has another length or the file ends before it does.
        """
        types = [np.dtype(dtype).newbyteorder(self.byte_order) for dtype, _ in fields]
        lengths = [t.itemsize * count for t, (_, count) in zip(types, fields, strict=True)]
        at = self.at + 4
        self._pass(what, sum(lengths))
        values = []
        for dtype, length in zip(types, lengths, strict=True):
            part = self._bytes[at : at + length].view(dtype)
            values.append(part.astype(dtype.newbyteorder("=")))
            at += length
        return values

    def _pass(self, what: str, expected: int) -> None:
        """Go behind the next record, which must have the expected length."""
        length = self.next_length()
        if length is not None and length != expected:
            raise InputError(
                f"{self.path}: {what}: a record of {length} bytes at byte {self.at}, "
                f"expected {expected}; the file is damaged, or of a generation that is not known"
            )
        end = self.at + 8 + expected
        if length is None or end > len(self):
            raise self._cut_off(what, end)
        if self._bytes[end - 4 : end].view(f"{self.byte_order}i4")[0] != expected:
            raise InputError(
                f"{self.path}: {what}: damaged: the record at byte {self.at} has no end"
            )
        self.at = end

    def _cut_off(self, what: str, needed: int) -> InputError:
        return InputError(
            f"{self.path}: cut off: {len(self)} bytes, {what} would end at byte {needed}; "
            "the run was killed while it wrote, or a copy is incomplete"
        )

    def skip_rows(self, what: str, counts: NDArray[np.int64], width: int) -> int:
        """Go behind one record for each row without reading them.

        Parameters
        ----------
        what : str
            What they hold, for messages.
        counts : (n,) int64 array
            Number of elements of each row.
        width : int
            Bytes of an element.

        Returns
        -------
        int
            Where the first of them begins, for `rows`.
        """
        start = self.at
        end = start + int(counts.sum()) * width + 8 * len(counts)
        if end > len(self):
            raise self._cut_off(what, end)
        self.at = end
        return start

    def rows(
        self,
        what: str,
        start: int,
        counts: NDArray[np.int64],
        dtype: DTypeLike,
        per_element: int = 1,
    ) -> NDArray[Any]:
        """Read one record for each row, all at once.

        Parameters
        ----------
        what : str
            What they hold, for messages.
        start : int
            Where the first of them begins.
        counts : (n,) int64 array
            Number of elements of each row.
        dtype : dtype
            Type of a number, of 4 or 8 bytes.
        per_element : int
            Numbers in an element.

        Returns
        -------
        (sum of counts * per_element,) array
            All rows, one after another, in native byte order.

        Raises
        ------
        InputError
            If a length at either end of a record is not what it should be.
        """
        kind = np.dtype(dtype).newbyteorder(self.byte_order)
        # In words of 4 bytes each record is its content and two markers.
        lengths = counts * (kind.itemsize * per_element)
        ends = np.cumsum(lengths // 4 + 2)
        starts = ends - (lengths // 4 + 2)
        total = int(ends[-1]) if len(ends) else 0
        words = self._bytes[start : start + 4 * total].view(f"{self.byte_order}i4")
        wrong = (words[starts] != lengths) | (words[ends - 1] != lengths)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"{self.path}: {what}: row {row + 1} of {len(counts)} is damaged: its record at "
                f"byte {start + 4 * int(starts[row])} does not have {int(lengths[row])} bytes"
            )
        content = np.ones(total, dtype=bool)
        content[starts] = False
        content[ends - 1] = False
        values = words[content].view(kind).astype(kind.newbyteorder("="), copy=False)
        if total > _LARGE and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)  # the pages that were read count as used memory
        return values

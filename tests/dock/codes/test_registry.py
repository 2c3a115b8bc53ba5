"""The registry: recognition by files, codes of other packages, unknown names."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from deeph_dock import codes
from deeph_spec.errors import InputError


class _Toy:
    name = "Toy"
    looks_for = "*.toy"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        return tuple(path.stem for path in folder.glob("*.toy"))


TOY = _Toy()


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("toy", f"{__name__}:TOY", codes.ENTRY_POINT_GROUP)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(codes, "entry_points", lambda group: [point])
    codes._third_parties.cache_clear()
    codes.load.cache_clear()
    yield
    monkeypatch.undo()
    codes._third_parties.cache_clear()
    codes.load.cache_clear()


def test_labels_of_a_folder_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.HSX", "a.HSX", "c.XV", "notes.txt", "d.ORB_INDX"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.HSX").mkdir()
    found = list(codes.detect(tmp_path))
    assert found == [("siesta", tmp_path, "a"), ("siesta", tmp_path, "b")]


def test_folder_of_nothing_is_no_calculation(tmp_path: Path) -> None:
    (tmp_path / "basis.ion").write_text("")
    assert list(codes.detect(tmp_path)) == []


def test_code_of_another_package_joins_through_its_entry_point(
    with_toy: None, tmp_path: Path
) -> None:
    (tmp_path / "x.toy").write_text("")
    (tmp_path / "y.HSX").write_text("")
    assert codes.names() == (*codes.CODES, "toy")
    assert [found.code for found in codes.detect(tmp_path)] == ["siesta", "toy"]
    assert [found.label for found in codes.detect(tmp_path, "TOY")] == ["x"]


def test_unknown_code_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no code 'vasp'; known are siesta"):
        list(codes.detect(tmp_path, "vasp"))


def test_looking_through_folders_imports_nothing_heavy() -> None:
    program = (
        "import sys; from pathlib import Path; import deeph_dock.conversion as c\n"
        "try: c.plan([Path('.')], Path('x'))\n"
        "except Exception as error: assert 'no calculation' in str(error), error\n"
        "print([m for m in ('numpy', 'h5py', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert done.stdout.strip() == "[]", done.stderr

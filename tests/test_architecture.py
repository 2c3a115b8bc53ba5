"""Who may import whom: the arrows of the architecture, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "deeph_spec": ROOT / "spec/src",
    "deeph_dock": ROOT / "packages/deeph-dock/src",
    "deeph": ROOT / "packages/deeph-core/src",
}

_READ = {"codes", "basis", "integrals", "structures", "electrons"}
ALLOWED: dict[str, dict[str, set[str]]] = {
    # Within the format, rooms are modules.
    "deeph_spec": {
        "errors": set(),
        "files": {"errors"},
        "orbitals": {"errors"},
        "pairs": {"errors"},
        "ragged": {"errors"},
        "structure": {"errors", "files"},
        "system": {"errors", "files", "orbitals", "structure"},
        "matrix_files": {"blocks", "errors", "files", "ragged", "system"},
        "blocks": {"errors", "matrix_files", "pairs", "ragged"},
        "irreps": {"errors", "orbitals"},
        "tensors": {"errors", "files", "irreps", "matrix_files", "pairs", "system"},
        "spin": {"blocks", "system"},
        "dataset": {"blocks", "errors", "files", "matrix_files", "spin", "structure", "system"},
        "validation": {
            "blocks", "dataset", "errors", "files", "matrix_files", "orbitals", "pairs", "ragged",
            "structure", "system", "tensors",
        },
        "testing": {"blocks", "dataset", "orbitals", "structure", "system"},
        "__init__": {"blocks", "dataset", "errors", "structure", "system"},
    },
    "deeph_dock": {
        "orbital_elements": {"deeph_spec"},
        "spin_blocks": {"deeph_spec"},
        "codes": {"deeph_spec", "orbital_elements", "spin_blocks"},
        "basis": {"deeph_spec"},
        "integrals": {"deeph_spec", "basis"},
        "structures": {"deeph_spec"},
        "electrons": {"deeph_spec"},
        "exports": {"deeph_spec", "electrons"},
        "metrics": {"deeph_spec", "electrons"},
        "error_maps": {"deeph_spec", "electrons", "metrics"},
        "plots": {"deeph_spec", "electrons"},
        "error_plots": {"deeph_spec", "error_maps", "plots"},
        "spectrum_errors": {"deeph_spec", "electrons", "metrics"},
        "bandstructures": {"deeph_spec", "electrons"},
        "structure_files": {"deeph_spec"},
        "places": {"deeph_spec"},
        "overlap_matrices": {"deeph_spec", "basis", "executors", "integrals"},
        "like_dataset": {
            "deeph_spec", "basis", "integrals", "computing_overlaps", "overlap_matrices",
        },
        "restarts": {"deeph_spec", "places"},
        "computing_overlaps": {
            "deeph_spec", "basis", "integrals", "discovery", "outcomes", "overlap_matrices",
            "places", "restarts", "structure_files", "writing",
        },
        "executors": {"deeph_spec"},
        "duplicates": {"deeph_spec"},
        "splitting": {"deeph_spec"},
        "summary": {"deeph_spec", "duplicates"},
        "summary_plots": {"deeph_spec", "plots", "summary"},
        "workers": {"deeph_spec", "executors"},
        "outcomes": {"deeph_spec", "executors"},
        "discovery": {"deeph_spec", "codes"},
        "reference": {"deeph_spec", "codes"},
        "proofs": {"deeph_spec", "codes", "electrons"},
        "deriving": {"deeph_spec", "outcomes", "places"},
        "exporting": {"deeph_spec"},
        "standardizing": {"deeph_spec", "metrics", "places", "reference"},
        "writing": {"deeph_spec", "codes", "places", "reference"},
        "conversion": {
            "deeph_spec", *_READ, "metrics", "exports", "plots", "discovery", "outcomes", "places",
            "writing",
        },
        "engines": {
            "deeph_spec", "codes", "discovery", "outcomes", "places", "restarts", "structure_files",
            "writing",
        },
        "overlap_diagnosis": {"deeph_spec", "basis", "integrals", "proofs"},
        "checking": {
            "deeph_spec", "basis", "codes", "discovery", "executors", "integrals",
            "overlap_diagnosis", "proofs", "reference",
        },
        "testing": {"deeph_spec", "codes", "electrons", "proofs"},
        "cli": {
            "deeph_spec", *_READ, "bandstructures", "checking", "conversion", "discovery",
            "engines", "deriving", "executors", "exporting", "exports", "metrics",
            "error_maps", "computing_overlaps", "overlap_matrices", "like_dataset",
            "structure_files", "outcomes", "places", "plots", "standardizing", "workers",
            "duplicates", "splitting", "summary", "summary_plots",
        },
        "__init__": set(),
    },
    "deeph": {
        "so3": {"deeph_spec"},
        "representation": {"deeph_spec", "so3"},
        "graphs": {"deeph_spec", "representation", "so3"},
        "layers": {"so3"},
        "networks": {"graphs", "layers", "so3"},
        "targets": {"deeph_spec", "graphs", "representation", "so3"},
        "models": {"deeph_spec", "graphs", "networks", "representation", "targets"},
        "config": {"deeph_spec"},
        "training": {
            "deeph_spec", "config", "graphs", "models", "networks", "representation", "so3",
            "targets",
        },
        "inference": {
            "deeph_spec", "config", "graphs", "models", "networks", "representation", "targets",
        },
        "testing": {"deeph_spec", "graphs", "layers", "networks", "representation", "so3"},
        "cli": {"deeph_spec", "config", "inference", "models", "targets", "training"},
        "__init__": set(),
    },
}  # fmt: skip

# Arrows of single modules beyond those of their rooms, and why they are no arrow up.
EXCEPTIONS = {
    # The one arrow between the two packages: errors of predictions, when `deeph eval` runs.
    ("deeph", "cli/evaluate.py"): {"deeph_dock"},
    ("deeph", "cli/evaluation_report.py"): {"deeph_dock"},
    # Tests that third parties run on their networks: they need structures and the symmetriser.
    ("deeph", "networks/bench.py"): {"deeph_spec", "representation", "targets", "testing"},
    ("deeph", "networks/contract.py"): {"deeph_spec", "targets", "testing"},
    ("deeph", "networks/specimens.py"): {"deeph_spec"},
}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide arrows"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(package: str, path: Path) -> str:
    """Return the room of a module: the first name below the package."""
    return path.relative_to(SOURCES[package] / package).with_suffix("").parts[0]


def wrong_arrows(package: str, path: Path, names: Iterator[str]) -> list[str]:
    """List the imports of a module that its room may not have."""
    room = room_of(package, path)
    inside = str(path.relative_to(SOURCES[package] / package))
    allowed = ALLOWED[package].get(room, set()) | EXCEPTIONS.get((package, inside), set())
    wrong = []
    for name in names:
        top, *rest = name.split(".")
        if top not in SOURCES:
            continue
        target = top if top != package else rest[0]
        if target != room and target not in allowed:
            wrong.append(f"{package}.{room} -> {target} ({path.name} imports {name})")
    return wrong


MODULES = [(p, path) for p, root in SOURCES.items() for path in sorted((root / p).rglob("*.py"))]


@pytest.mark.parametrize("package", SOURCES)
def test_no_arrow_points_up(package):
    wrong = [
        line
        for owner, path in MODULES
        if owner == package
        for line in wrong_arrows(package, path, imports(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_an_arrow_up_is_seen():
    path = SOURCES["deeph_dock"] / "deeph_dock/electrons/bands.py"
    assert wrong_arrows("deeph_dock", path, iter(["deeph_dock.cli.band.band"]))
    assert wrong_arrows("deeph_dock", path, iter(["deeph.networks.NETWORKS"]))
    assert not wrong_arrows("deeph_dock", path, iter(["deeph_spec.blocks.BlockMatrix", "numpy"]))


def test_every_room_is_in_the_table():
    rooms = {(package, room_of(package, path)) for package, path in MODULES}
    assert rooms <= {(package, room) for package, table in ALLOWED.items() for room in table}


def test_codes_do_not_know_each_other():
    for package, path in MODULES:
        if package == "deeph_dock" and room_of(package, path) == "codes":
            parts = path.relative_to(SOURCES[package] / "deeph_dock/codes").parts
            code = Path(parts[0]).stem
            others = [
                name
                for name in imports(path)
                if name.startswith("deeph_dock.codes.")
                and code != "__init__"
                and (SOURCES[package] / "deeph_dock/codes" / name.split(".")[2]).exists()
                and name.split(".")[2] != code
            ]
            assert not others, f"{path}: {others}"

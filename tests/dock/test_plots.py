"""Figures: what is in them, and that equal results give equal files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import error_plots, plots
from deeph_dock.electrons.bands import Bands, compute_bands
from deeph_dock.electrons.kpath import automatic_path, gamma_only
from deeph_dock.electrons.models import Model, honeycomb, in_field
from deeph_dock.electrons.occupations import FermiLevel
from deeph_dock.error_maps import Comparison, error_maps
from deeph_spec.errors import InputError
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


def bands_of(model: Model, level: float = 0.0, **others: str) -> Bands:
    path = automatic_path(model.structure, points=30)
    return compute_bands(model.problem(), model.structure, path, FermiLevel(level), **others)


def curves(axes: Axes) -> list:
    """Lines of bands: longer than the marks of ticks and of the Fermi level."""
    return [line for line in axes.get_lines() if len(line.get_xdata()) > 2]


def test_dft_is_solid_prediction_dashed_zero_at_each_level() -> None:
    model = honeycomb(mass=1.0)
    dft = bands_of(model, 0.0, label="DFT")
    shifted = replace(dft, energies=dft.energies + 5.0, fermi=FermiLevel(5.0))
    predicted = replace(shifted, label="prediction", matrix="hamiltonian_pred")
    axes = plots.bands_figure([dft, predicted]).axes[0]
    solid = [line for line in curves(axes) if line.get_linestyle() == "-"]
    dashed = [line for line in curves(axes) if line.get_linestyle() != "-"]
    assert len(solid) == len(dashed) == 3 * 2  # segments, bands
    for a, b in zip(solid, dashed, strict=True):
        np.testing.assert_allclose(a.get_ydata(), b.get_ydata(), atol=1e-12)
    assert {to_hex(line.get_color()) for line in solid} == {plots.COLOURS[0]}
    assert {to_hex(line.get_color()) for line in dashed} == {plots.COLOURS[1]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["DFT", "prediction"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["Γ", "M", "K", "Γ"]
    ticks = dft.path.ticks(dft.lattice)
    np.testing.assert_allclose(axes.get_xticks(), ticks)
    assert axes.get_ylim() == pytest.approx((-6.0, 6.0))  # 5 eV beyond the gap of 2


def test_window_can_be_given() -> None:
    axes = plots.bands_figure([bands_of(honeycomb())], window=(-2.0, 3.5)).axes[0]
    assert axes.get_ylim() == (-2.0, 3.5)


def test_spins_have_colours_and_arrows() -> None:
    bands = bands_of(in_field(honeycomb(mass=1.0), 0.4), label="DFT")
    axes = plots.bands_figure([bands]).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["DFT ↑", "DFT ↓"]
    assert {to_hex(line.get_color()) for line in curves(axes)} == set(plots.SPIN_COLOURS[0])


def test_other_cells_are_stretched_onto_the_first_path() -> None:
    small = bands_of(honeycomb())
    large = replace(small, lattice=small.lattice * [1.1, 1.1, 1.0])
    axes = plots.bands_figure([small, large]).axes[0]
    end = small.path.ticks(small.lattice)[-1]
    assert max(line.get_xdata().max() for line in curves(axes)) == pytest.approx(end)
    assert large.path.ticks(large.lattice)[-1] < 0.95 * end


def test_other_paths_do_not_fit() -> None:
    bands = bands_of(honeycomb())
    other = replace(bands, path=replace(bands.path, labels=(("GAMMA", "X"),) * 3))
    with pytest.raises(InputError, match="--kpath FILE"):
        plots.bands_figure([bands, other])
    with pytest.raises(InputError, match="no bands"):
        plots.bands([], Figure().add_subplot())


def test_molecules_are_drawn_as_levels() -> None:
    model = honeycomb()
    one = compute_bands(model.problem(), model.structure, gamma_only(), FermiLevel(0.0))
    other = replace(one, label="prediction", matrix="hamiltonian_pred")
    axes = plots.bands_figure([one, other]).axes[0]
    levels = [collection.get_segments() for collection in axes.collections]
    assert [len(segments) for segments in levels] == [2, 2]
    assert levels[0][0][0][1] == pytest.approx(one.energies[0, 0, 0])


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("GAMMA", "Γ"),
        ("Gamma", "Γ"),
        ("K", "K"),
        ("H_1", r"H$_\mathrm{1}$"),
        ("SIGMA_0", r"Σ$_\mathrm{0}$"),
        ("G", "G"),
    ],
)
def test_labels_are_written_as_physicists_do(label: str, shown: str) -> None:
    assert plots.pretty(label) == shown


def test_formulas_have_subscripts() -> None:
    assert plots.formula("Mo4S8") == "Mo$_{4}$S$_{8}$"


def maps_of_graphene():
    model = honeycomb(mass=1.0)
    noise = np.linspace(1e-3, 5e-3, len(model.hamiltonian.entries))
    predicted = model.hamiltonian.with_entries(model.hamiltonian.entries + noise)
    return error_maps([Comparison(model.structure, model.info, predicted, model.hamiltonian)])


def panel(figure: Figure, title: str) -> Axes:
    """Return the panel of a figure that has the given title."""
    (found,) = [axes for axes in figure.axes if axes.get_title() == title]
    return found


def test_error_figure_says_what_was_measured() -> None:
    maps = maps_of_graphene()
    figure = error_plots.errors(maps, "test")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [
        "Matrix elements", "Blocks", "Pairs of elements",
        "Pairs of shells", "Distribution", "Structures",
    ]  # fmt: skip
    text = panel(figure, "Matrix elements").texts[0].get_text()
    assert f"MAE {maps.mean:.3g} meV" in text
    assert "1 structure" in text
    cell = panel(figure, "Pairs of shells").texts[0].get_text()
    assert float(cell) == pytest.approx(maps.mean, rel=0.01)
    assert list(panel(figure, "Distribution").patches)
    bars = panel(figure, "Pairs of elements")
    assert [label.get_text() for label in bars.get_yticklabels()] == ["C-C", "C"]
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == pytest.approx(sorted(maps.pairs_errors, reverse=True))


def test_the_ten_worst_structures_are_named() -> None:
    model = honeycomb()
    h = model.hamiltonian
    maps = error_maps(
        Comparison(model.structure, model.info, h.with_entries(h.entries + 1e-3 * n), h,
                   name=f"{n:04}")
        for n in range(12)
    )  # fmt: skip
    axes = panel(error_plots.errors(maps), "Structures")
    lines = axes.texts[0].get_text().splitlines()
    assert lines == [f"{n:04}  {n}" for n in range(11, 1, -1)]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.arange(11, -1, -1), atol=1e-9)


def test_many_pairs_of_elements_show_the_worst() -> None:
    maps = maps_of_graphene()
    count = 40
    many = replace(
        maps,
        pairs=tuple(f"C-X{n}" for n in range(count)),
        pairs_errors=np.arange(count, dtype=float),
        pairs_elements=np.ones(count),
    )
    axes = panel(error_plots.errors(many), "Pairs of elements (the worst of 40)")
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["C-X39", "C-X38"]


def test_large_errors_fit_their_cells() -> None:
    model = honeycomb()
    h = model.hamiltonian
    wrong = h.with_entries(h.entries + 0.1234)
    figure = error_plots.errors(
        error_maps([Comparison(model.structure, model.info, wrong, h)]), "an early model"
    )
    assert [text.get_text() for text in panel(figure, "Pairs of shells").texts] == ["123"]


def test_perfect_predictions_can_be_drawn(tmp_path: Path) -> None:
    model = honeycomb()
    h = model.hamiltonian
    maps = error_maps([Comparison(model.structure, model.info, h, h)])
    png, _ = plots.save(error_plots.errors(maps), tmp_path / "errors")
    assert png.stat().st_size > 10_000


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        figure = plots.bands_figure([bands_of(honeycomb(), label="DFT")], title="C2")
        files.append(plots.save(figure, tmp_path / f"band.{name}"))
    assert [path.name for path in files[0]] == ["band.a.png", "band.a.pdf"]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert files[0][0].read_bytes().startswith(b"\x89PNG")
    assert files[0][1].read_bytes().startswith(b"%PDF")

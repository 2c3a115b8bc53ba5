"""band.h5: the published keys, ours beside them, and back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph_dock.electrons.bands import Bands, choose_mesh, compute_bands, find_fermi_level
from deeph_dock.electrons.kpath import automatic_path
from deeph_dock.electrons.models import Model, chain, honeycomb, in_field, with_spin_orbit
from deeph_dock.exports.results import read_bands, write_bands
from deeph_spec.errors import InputError

PUBLISHED = {
    "band_data": "f8",
    "fermi_energy_eV": "f8",
    "fermi_energy_before_shift_eV": "f8",
    "band_gap": "f8",
    "is_metal": "?",
    "band_quantity": "i8",
    "spinful": "?",
    "rlv": "f8",
    "kpoints_quantity": "i8",
    "kpoints_frac_list": "f8",
    "kpoints_distance_list": "f8",
    "hsk_distance_list": "f8",
    "k_path_quantity": "i8",
    "k_path_density_list": "i8",
    "hsk_vector_list": "f8",
    "hsk_symbol_list": "S",
}


def bands_of(model: Model) -> Bands:
    problem = model.problem()
    path = automatic_path(model.structure, problem.coupled_axes, points=20)
    fermi = find_fermi_level(problem, model.info, choose_mesh(problem, model.structure, (6, 6, 1)))
    return compute_bands(problem, model.structure, path, fermi, label="DFT")


def test_published_keys_are_there_with_their_meaning(tmp_path: Path) -> None:
    model = honeycomb(overlap=0.0, mass=1.5)
    bands = bands_of(model)
    write_bands(tmp_path / "band.h5", bands)
    with h5py.File(tmp_path / "band.h5") as file:
        data = {key: file[key][()] for key in file}
        attributes = dict(file.attrs)
        units = {key: file[key].attrs.get("units") for key in file}
    for key, kind in PUBLISHED.items():
        found = np.asarray(data[key]).dtype
        assert found.kind == "S" if kind == "S" else found == np.dtype(kind), key
    assert set(data) - set(PUBLISHED) == {"occupations", "mesh", "vbm", "cbm"}
    kpoints = sum(bands.path.counts)
    assert data["band_data"].shape == (2, kpoints)  # bands first
    exact = model.bands(bands.path.kpoints)[0].T
    np.testing.assert_allclose(data["band_data"], exact - bands.fermi.energy, atol=1e-10)
    assert data["fermi_energy_eV"] == 0.0
    assert data["fermi_energy_before_shift_eV"] == bands.fermi.energy
    assert data["band_gap"] == pytest.approx(3.0)
    assert (bool(data["is_metal"]), bool(data["spinful"])) == (False, False)
    assert (data["band_quantity"], data["kpoints_quantity"]) == (2, kpoints)
    product = data["rlv"] @ model.structure.lattice.T
    np.testing.assert_allclose(product, 2 * np.pi * np.eye(3), atol=1e-12)
    assert data["kpoints_frac_list"].shape == (kpoints, 3)
    assert data["k_path_quantity"] == 3
    assert data["k_path_density_list"].tolist() == list(bands.path.counts)
    assert data["hsk_vector_list"].shape == (3, 2, 3)
    assert data["hsk_symbol_list"].tolist() == [[b"GAMMA", b"M"], [b"M", b"K"], [b"K", b"GAMMA"]]
    gamma_m = 1 / np.sqrt(3) / 2.46  # 1/Å without 2 pi
    assert data["hsk_distance_list"][1] == pytest.approx(gamma_m)
    assert data["kpoints_distance_list"][-1] == pytest.approx(data["hsk_distance_list"][-1])
    assert data["mesh"].tolist() == [6, 6, 1]
    assert (data["vbm"], data["cbm"]) == pytest.approx((-1.5, 1.5))
    assert data["occupations"].shape == (2, kpoints)
    assert attributes["format_version"] == "1.0"
    assert attributes["electrons"] == 2.0
    assert units["band_data"] == "eV"
    assert "2 pi" in units["rlv"]


@pytest.mark.parametrize(
    "model",
    [
        honeycomb(),
        honeycomb(mass=1.0),
        in_field(honeycomb(mass=1.0), 0.3),
        with_spin_orbit(chain(), 0.2),
    ],
    ids=["metal", "insulator", "collinear", "soc"],
)
def test_what_is_written_is_read(tmp_path: Path, model: Model) -> None:
    bands = bands_of(model)
    write_bands(tmp_path / "band.h5", bands)
    back = read_bands(tmp_path / "band.h5")
    np.testing.assert_allclose(back.energies, bands.energies, atol=1e-12)
    np.testing.assert_allclose(back.lattice, bands.lattice, atol=1e-12)
    np.testing.assert_array_equal(back.path.kpoints, bands.path.kpoints)
    assert back.path.labels == bands.path.labels
    assert (back.spin, back.label, back.matrix) == (bands.spin, "DFT", "hamiltonian")
    assert back.is_metal is bands.is_metal
    assert back.gap == pytest.approx(bands.gap, abs=1e-12)
    assert back.fermi.source == "electrons"
    assert back.fermi.mesh == bands.fermi.mesh


def test_collinear_bands_are_up_then_down(tmp_path: Path) -> None:
    bands = bands_of(in_field(honeycomb(mass=1.0), 0.3))
    write_bands(tmp_path / "band.h5", bands)
    with h5py.File(tmp_path / "band.h5") as file:
        assert file["spin_channel"][()].tolist() == [0, 0, 1, 1]
        assert file["band_quantity"][()] == 4
        assert file["spinful"][()]
        up, down = file["band_data"][:2], file["band_data"][2:]
    np.testing.assert_allclose(down - up, 0.6, atol=1e-10)


def test_files_without_our_keys_are_read(tmp_path: Path) -> None:
    bands = bands_of(honeycomb(mass=1.0))
    write_bands(tmp_path / "band.h5", bands)
    with h5py.File(tmp_path / "band.h5", "r+") as file:
        for key in set(file) - set(PUBLISHED):
            del file[key]
        for key in list(file.attrs):
            del file.attrs[key]
    back = read_bands(tmp_path / "band.h5")
    np.testing.assert_allclose(back.energies, bands.energies, atol=1e-12)
    assert back.gap == pytest.approx(bands.gap)
    assert back.fermi.source == "band.h5"


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "band.h5"
    write_bands(path, bands_of(honeycomb()))
    before = path.read_bytes()
    monkeypatch.setattr("deeph_dock.exports.results.UNITS", {"band_data": object()})
    with pytest.raises(TypeError):
        write_bands(path, bands_of(honeycomb(mass=1.0)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["band.h5"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_bands(tmp_path / "band.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        read_bands(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dos_data"] = np.zeros(3)
    with pytest.raises(InputError, match=r"not a band\.h5"):
        read_bands(tmp_path / "other.h5")

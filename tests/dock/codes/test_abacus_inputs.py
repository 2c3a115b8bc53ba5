"""What is read of a run of ABACUS: which folders, logs, elements and orbitals."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.codes import Calculation, detect
from deeph_dock.codes.abacus import ABACUS
from deeph_dock.codes.abacus.assembly import BOHR
from deeph_dock.proofs import two_centre
from deeph_spec.errors import InputError

Data = Callable[[str], Path]
Run = Callable[[str], Path]


@pytest.fixture
def run(dft_data: Data, tmp_path: Path) -> Run:
    """Return a function that gives a private copy of a run."""

    def copied(name: str) -> Path:
        source = dft_data(f"abacus/{name}")
        return shutil.copytree(source, tmp_path / "run", copy_function=shutil.copyfile)

    return copied


def read(folder: Path) -> Calculation:
    (label,) = ABACUS.recognises(folder)
    return ABACUS.read(folder, label)


def out(folder: Path) -> Path:
    (found,) = folder.glob("OUT.*")
    return found


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"no '{old}' in {path.name}"
    path.write_text(text.replace(old, new))


class TestRecognition:
    """By content, wherever the files are."""

    def test_several_outputs_are_several_runs(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copytree(out(folder), folder / "OUT.again")
        assert ABACUS.recognises(folder) == ("H2O", "again")
        assert ABACUS.own_folders(folder, "again") == ("OUT.again",)
        (folder / "INPUT").write_text("INPUT_PARAMETERS\nsuffix again\n")
        one, two = (ABACUS.read(folder, label) for label in ABACUS.recognises(folder))
        assert "kmesh" not in one.info.provenance  # INPUT and KPT are those of the other run
        assert "kmesh" in two.info.provenance
        assert np.array_equal(one.structure.positions, two.structure.positions)

    def test_an_output_folder_is_enough(self, run: Run, tmp_path: Path, dft_data: Data) -> None:
        whole = read(dft_data("abacus/Si2_soc"))
        folder = run("Si2_soc")
        assert ABACUS.recognises(out(folder)) == ("",)
        inside = ABACUS.read(out(folder), "")
        assert np.array_equal(inside.structure.positions, whole.structure.positions)
        alone = shutil.move(out(folder), tmp_path / "alone")
        calculation = ABACUS.read(Path(alone), "")
        # Without STRU the atoms are where ABACUS moved them: the other picture of the same.
        violation = two_centre(
            calculation.structure,
            calculation.info.orbital_map,
            calculation.matrices["overlap"](),
        ).violation
        assert violation < 2e-5  # the cell has six digits
        assert abs(calculation.structure.positions[0, 0] - 2.815) < 1e-5

    def test_names_do_not_matter(self, run: Run, dft_data: Data) -> None:
        folder = run("Fe_spin_small")
        names = {
            "data-HR-sparse_SPIN0.csr": "hrs1_nao.csr",
            "data-HR-sparse_SPIN1.csr": "hrs2_nao.csr",
            "data-SR-sparse_SPIN0.csr": "srs1_nao.csr",
            "data-DMR-sparse_SPIN0.csr": "dmrs1_nao.csr",
            "data-DMR-sparse_SPIN1.csr": "dmrs2_nao.csr",
        }
        for old, new in names.items():
            (out(folder) / old).rename(out(folder) / new)
        calculation, whole = read(folder), read(dft_data("abacus/Fe_spin_small"))
        for name, matrix in whole.matrices.items():
            assert np.array_equal(calculation.matrices[name]().entries, matrix().entries)

    def test_the_overlap_of_the_run_is_preferred(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copyfile(out(folder) / "data-SR-sparse_SPIN0.csr", out(folder) / "SR.csr")
        assert out(folder) / "data-SR-sparse_SPIN0.csr" in ABACUS.inputs(folder, "H2O")

    def test_two_files_of_one_matrix_are_refused(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copyfile(out(folder) / "data-HR-sparse_SPIN0.csr", out(folder) / "hrs1_nao.csr")
        with pytest.raises(InputError, match=r"H\(R\) of spin 1, as data-HR-sparse_SPIN0.csr is"):
            read(folder)

    def test_a_run_with_gamma_alone_says_what_to_do(self, dft_data: Data) -> None:
        with pytest.raises(InputError, match="put 'gamma_only 0' and 'out_mat_hs2 1'"):
            read(dft_data("abacus/H2O_gamma"))

    def test_a_run_without_matrices_says_what_to_do(self, run: Run) -> None:
        folder = run("H2O")
        for path in out(folder).glob("*.csr"):
            path.unlink()
        with pytest.raises(InputError, match="put 'out_mat_hs2 1' into INPUT"):
            read(folder)
        change(folder / "INPUT", "lcao", "pw")
        with pytest.raises(InputError, match="plane waves have none"):
            read(folder)

    def test_it_is_in_the_registry(self, dft_data: Data) -> None:
        (found,) = detect(dft_data("abacus/H2O"))
        assert (found.code, found.label) == ("abacus", "H2O")


def modernised(text: str) -> str:
    """Write a log in the words of 2026."""
    text = text.replace(" charge density convergence is achieved", " #SCF IS CONVERGED#")
    text = text.replace("AUTOSET number of electrons: ", "Autoset the number of electrons")
    text = text.replace("atom label =", "Atom label =")
    text = text.replace("number of atom for this type", "Number of atoms for this type")
    text = re.sub(r" EFERMI = .*\n", "", text)
    text = re.sub(r"tau[cd]_([A-Za-z]+)\d+", r"\1", text)
    return text.replace("CARTESIAN COORDINATES ( UNIT =  ", " CARTESIAN COORDINATES ( UNIT = ")


class TestLogs:
    """What a log says in all its words."""

    def test_the_words_of_newer_logs_are_known(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0001")
        log = out(folder) / "running_scf.log"
        log.write_text(modernised(log.read_text()))
        new, old = read(folder), read(dft_data("abacus/SiO2_6/0001"))
        assert new.unconverged == ""
        assert new.info.fermi_level == pytest.approx(old.info.fermi_level, abs=1e-8)
        assert new.info.occupation == old.info.occupation
        assert new.info.orbital_map == old.info.orbital_map
        assert np.array_equal(new.structure.positions, old.structure.positions)

    @pytest.mark.parametrize(
        ("new", "reason"),
        [
            (" convergence has NOT been achieved!", "says that the self-consistency cycle did not"),
            (" !!SCF IS NOT CONVERGED!!", "says that the self-consistency cycle did not"),
            ("", "does not say that the self-consistency cycle converged"),
        ],
    )
    def test_runs_that_did_not_converge_are_told(self, run: Run, new: str, reason: str) -> None:
        folder = run("H2O")
        change(out(folder) / "running_scf.log", " charge density convergence is achieved", new)
        calculation = read(folder)
        assert reason in calculation.unconverged
        assert calculation.info.fermi_level is None
        assert calculation.eigenvalues is None
        assert "hamiltonian" in calculation.matrices

    def test_electrons_of_the_input_count(self, run: Run) -> None:
        folder = run("H2O")
        (folder / "INPUT").write_text((folder / "INPUT").read_text() + "\nnelec 7.5\n")
        assert read(folder).info.occupation == 7.5

    def test_without_stru_the_log_has_the_atoms(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0002")
        (folder / "STRU").unlink()
        calculation, whole = read(folder), read(dft_data("abacus/SiO2_6/0002"))
        assert "running_scf.log, with six digits" in " ".join(calculation.warnings)
        np.testing.assert_allclose(
            calculation.structure.positions, whole.structure.positions, atol=2e-5
        )
        assert calculation.structure.symbols == whole.structure.symbols

    def test_a_stru_of_another_run_is_not_taken(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0002")
        shutil.copyfile(dft_data("abacus/SiO2_6/0003") / "STRU", folder / "STRU")
        calculation = read(folder)
        assert "STRU differs from the atoms of the run" in " ".join(calculation.warnings)
        overlap = calculation.matrices["overlap"]()
        result = two_centre(calculation.structure, calculation.info.orbital_map, overlap)
        assert result.violation < 2e-5

    def test_positions_of_a_relaxation_are_those_of_the_last_cycle(self, run: Run) -> None:
        """Atoms are listed after each step: the matrices belong to those before the last cycle."""
        folder = run("Si2_sz_r")
        log = out(folder) / "running_scf.log"
        text = log.read_text()
        listed = re.search(r"CARTESIAN COORDINATES .*\n.*\n(tau.*\n)+", text)
        assert listed is not None
        earlier = listed[0].replace("1.3800000000", "1.3700000000")
        later = listed[0].replace("1.3800000000", "1.3900000000")
        text = text.replace(listed[0], earlier) + later
        text = text.replace(" SELF-CONSISTENT", f"{listed[0]}\n SELF-CONSISTENT")
        log.unlink()
        log = out(folder) / "running_relax.log"
        log.write_text(text)
        stru = (folder / "STRU").read_text()
        (folder / "STRU").write_text(stru.replace("1.380000000000", "1.370000000000"))
        for path in out(folder).glob("*.csr"):
            change(path, "STEP: 0", "STEP: 1")
        calculation = read(folder)
        assert calculation.structure.positions[1, 1] == pytest.approx(1.38, abs=1e-6)
        assert "step 1 is taken" in " ".join(calculation.warnings)
        log.write_text(text.replace(listed[0], ""))
        with pytest.raises(InputError, match="step 1, whose atoms no file has"):
            read(folder)
        log.write_text(text)
        (out(folder) / "STRU_ION_D").write_text(stru.replace("1.410000000000", "1.410000000001"))
        exact = read(folder)
        assert exact.structure.positions[1, 2] == pytest.approx(
            1.410000000001 * 1.889726125457828 * BOHR, abs=1e-13
        )

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("number of zeta = 2", "number of zeta = 1", "the atoms have"),
            ("atom label = O", "atom = O", "no label or number of atoms"),
            ("number of atom for this type = 2", "number of atom for this type = 3", "atoms"),
        ],
    )
    def test_logs_that_contradict_the_matrices_are_named(
        self, run: Run, old: str, new: str, message: str
    ) -> None:
        folder = run("H2O")
        (folder / "STRU").unlink()
        change(out(folder) / "running_scf.log", old, new)
        with pytest.raises(InputError, match=message):
            read(folder)


class TestElements:
    """From the files of a species, not from its label."""

    def relabelled(self, run: Run, label: str) -> Path:
        folder = run("H2O")
        stru = folder / "STRU"
        stru.write_text(re.sub(r"(?m)^O(?=\s|$)", label, stru.read_text()))
        log = out(folder) / "running_scf.log"
        text = log.read_text().replace("atom label = O\n", f"atom label = {label}\n")
        log.write_text(text.replace("tauc_O1", f"tauc_{label}1"))
        return folder

    @pytest.mark.parametrize("label", ["O_SOC", "Pt1", "X"])
    def test_the_pseudopotential_decides(self, run: Run, label: str) -> None:
        assert read(self.relabelled(run, label)).structure.symbols == ["O", "H", "H"]

    def hide(self, folder: Path) -> None:
        for path in (folder / "STRU", out(folder) / "running_scf.log"):
            text = path.read_text().replace("O_ONCV_PBE-1.0.upf", "my.upf")
            path.write_text(text.replace("O_gga_6au_60Ry_2s2p1d.orb", "my.orb"))

    def test_then_the_content_of_its_files(self, run: Run) -> None:
        folder = self.relabelled(run, "N1")
        self.hide(folder)
        (folder / "my.upf").write_text('<UPF version="2.0.1">\n<PP_HEADER\n   element="O "\n')
        assert read(folder).structure.symbols == ["O", "H", "H"]

    def test_then_the_label_with_a_warning(self, run: Run) -> None:
        folder = self.relabelled(run, "O2a")
        self.hide(folder)
        calculation = read(folder)
        assert calculation.structure.symbols == ["O", "H", "H"]
        assert "species O2a is taken as O" in " ".join(calculation.warnings)

    def test_or_nothing(self, run: Run) -> None:
        folder = self.relabelled(run, "X9")
        self.hide(folder)
        with pytest.raises(InputError, match="species X9: neither its label nor"):
            read(folder)

    def test_ghosts_are_refused(self, run: Run) -> None:
        with pytest.raises(InputError, match="basis functions only"):
            read(self.relabelled(run, "O_empty"))

    def test_two_bases_of_one_element_are_refused(self, run: Run) -> None:
        folder = self.relabelled(run, "H1")
        for path in (folder / "STRU", out(folder) / "running_scf.log"):
            text = path.read_text().replace("O_ONCV_PBE-1.0.upf", "H_ONCV_PBE-1.0.upf")
            path.write_text(text.replace("O_gga_6au_60Ry_2s2p1d.orb", "H_gga_6au_60Ry_2s2p1d.orb"))
        with pytest.raises(InputError, match="H1, H are all H but have different bases"):
            read(folder)

    def test_shells_come_from_the_list_of_orbitals_too(self, run: Run, dft_data: Data) -> None:
        folder = run("AsH_soc_mag")
        log = out(folder) / "running_scf.log"
        log.write_text(re.sub(r".*number of zeta.*\n", "", log.read_text()))
        calculation, whole = read(folder), read(dft_data("abacus/AsH_soc_mag"))
        assert calculation.info.orbital_map == whole.info.orbital_map
        (out(folder) / "Orbital").unlink()
        assert read(folder).info.orbital_map == whole.info.orbital_map

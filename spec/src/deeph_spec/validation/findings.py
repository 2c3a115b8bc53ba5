"""Findings, and the list of rules they refer to."""

from __future__ import annotations

from dataclasses import dataclass

from deeph_spec.errors import InputError, Problem

RULES: dict[str, str] = {
    "E00": "the validator itself failed",
    "E01": "POSCAR missing",
    "E02": "info.json missing",
    "E03": "POSCAR not parsable",
    "E04": "POSCAR symbols and counts",
    "E05": "POSCAR lattice without volume",
    "E06": "atoms closer than 0.1 Å",
    "E07": "info.json not a JSON object",
    "E08": "info.json key missing or of wrong type",
    "E09": "atoms_quantity differs from POSCAR",
    "E10": "elements_orbital_map",
    "E11": "orbits_quantity differs from the orbital map",
    "E12": "spin and spinful contradict each other",
    "E13": "format_version unknown",
    "E14": "occupation impossible",
    "E15": "not a readable HDF5 file",
    "E16": "dataset missing",
    "E17": "atom_pairs of wrong shape or type",
    "E18": "atom index out of range",
    "E19": "pair stored twice",
    "E20": "on-site pair missing",
    "E21": "partner (-R, j, i) missing",
    "E22": "block shape differs from the orbitals",
    "E23": "chunk_boundaries do not fit the shapes",
    "E24": "chunk_boundaries overflowed",
    "E25": "entries of wrong size or type",
    "E26": "NaN or infinity in entries",
    "E27": "overlap is complex",
    "E28": "complex entries with spinful false",
    "E29": "real entries with spin-orbit coupling",
    "E30": "collinear entries with up-down parts",
    "E31": "overlap violates |S_ij|^2 <= S_ii S_jj",
    "E32": "overlap is not symmetric",
    "E33": "matrix is not Hermitian",
    "E34": "Hamiltonian is zero or absurdly large",
    "E35": "folders of a dataset contradict each other",
    "E36": "dataset_split.json",
    "E37": "K_PATH",
    "E38": "hamiltonian.h5 and overlap.h5 of different structures",
    "E39": "structures at different depths, or none",
    "E40": "a quantity of targets.h5 contradicts itself or the structure",
    "W01": "small Hermitian error",
    "W02": "on-site diagonal of S far from 1",
    "W03": "S(Gamma) nearly singular",
    "W04": "pairs of H and S differ",
    "W05": "most blocks of a matrix other than the overlap are zero",
    "W06": "spin missing with spinful true",
    "W07": "Fermi level implausible",
    "W08": "32-bit boundaries",
    "W09": "H looks like Hartree or Rydberg",
    "W10": "trace of the density matrix differs from occupation",
    "W11": "positions with few decimals",
    "W12": "leftover temporary files",
    "W13": "features.json lists other folders",
    "W14": "Hamiltonian without overlap",
}


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a folder.

    Parameters
    ----------
    rule : str
        Key of `RULES`.
    severity : str
        "error" or "warning".
    folder : str
        Path of the folder.
    file : str
        Name of the file in it; empty for the folder itself.
    key : str
        Key, dataset or line; empty for the file as a whole.
    message : str
        What was found and what was expected.
    remedy : str
        What to do.
    """

    rule: str
    severity: str
    folder: str
    file: str
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = "/".join(part for part in (self.folder, self.file) if part)
        key = f" {self.key}:" if self.key else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.severity} {self.rule} {where}:{key} {self.message}{remedy}"


def finding(folder: str, file: str, problem: Problem) -> Finding:
    """Say where a problem was found.

    Parameters
    ----------
    folder : str
        Path of the folder.
    file : str
        Name of the file.
    problem : Problem
        What is wrong.

    Returns
    -------
    Finding
        Severity follows from the letter of the rule.
    """
    severity = "warning" if problem.rule.startswith("W") else "error"
    message = " ".join(problem.message.split())
    return Finding(problem.rule, severity, folder, file, problem.key, message, problem.remedy)


def problem_of(error: InputError, path: object, rule: str) -> Problem:
    """Turn an exception of a reader into a problem.

    Parameters
    ----------
    error : InputError
        Its message starts with the path and ends with what to do, after a semicolon.
    path : path-like
        The file.
    rule : str
        Rule for an exception that names none.

    Returns
    -------
    Problem
        Without the path, which the finding names.
    """
    text = str(error).removeprefix(f"{path}: ").removeprefix(f"{error.key}: ")
    message, separator, remedy = text.rpartition("; ")
    if not separator:
        message, remedy = text, "correct the file or make it anew"
    return Problem(error.rule or rule, error.key, message, remedy)

"""Species of FHI-aims are recognised and refused, with what to do instead."""

from __future__ import annotations

import pytest
from deeph_dock.basis import fhi_aims
from deeph_dock.basis.folder import Request, read_bases
from deeph_spec.errors import InputError

NUMERICAL = """\
################################################################################
#  FHI-aims code project
#  Suggested "light" defaults for C atom (to be pasted into control.in file)
################################################################################
  species        C
#     global species definitions
    nucleus             6
    mass                12.0107
    cut_pot             3.0  1.5  1.0
    valence      2  s   2.
    valence      2  p   2.
    ion_occ      2  s   1.
     hydro 2 p 1.7
     hydro 3 d 6
#     hydro 4 f 9.8
     ionic 2 s auto
"""
GAUSSIAN = """\
xc pbe
species C_gauss
  nucleus 6
  include_min_basis .false.
  pure_gauss .true.
  valence 2 s 2.
  gaussian 0 2
     3.2 0.4
     0.5 0.7
  gaussian 1 1 0.4
"""


@pytest.mark.parametrize(
    "name", ["atom_Mo/control.in", "atom_Te/control.in", "MoS2_spin/control.in", "Si/control.in"]
)
def test_real_files_are_recognised_and_refused(dft_data, name):
    folder, file = name.split("/")
    found = [p for p in dft_data("third-party/fhi_aims").rglob(file) if folder in p.parts]
    assert found
    for path in found:
        assert fhi_aims.recognises(path)
        with pytest.raises(InputError, match=r"minimal.*dock convert"):
            fhi_aims.read(path, "exact", None)


def test_the_reason_names_species_and_functions(tmp_path):
    path = tmp_path / "06_C_default"
    path.write_text(NUMERICAL)
    assert fhi_aims.recognises(path)
    assert fhi_aims.valence(path) is None
    with pytest.raises(InputError, match=r"species C has functions") as caught:
        fhi_aims.read(path, "exact", None)
    message = str(caught.value)
    assert "(minimal, hydro, ionic)" in message
    assert "output_rs_matrices" in message
    assert "\n" not in message


def test_gaussians_alone_are_refused_for_a_reason_of_their_own(tmp_path):
    path = tmp_path / "control.in"
    path.write_text(GAUSSIAN)
    with pytest.raises(InputError, match=r"species C_gauss has Gaussian functions.*orthonormal"):
        fhi_aims.read(path, "exact", None)
    path.write_text(GAUSSIAN.replace(".false.", ".true."))
    with pytest.raises(InputError, match=r"\(minimal, gaussian\)"):
        fhi_aims.read(path, "exact", None)


def test_a_folder_of_species_says_it_too(tmp_path):
    (tmp_path / "06_C_default").write_text(NUMERICAL)
    with pytest.raises(InputError, match="atomic solver"):
        read_bases(Request((str(tmp_path),)), [6])


@pytest.mark.parametrize(
    "content",
    [
        b"species C\n",  # without a nucleus
        b"# species C\n# nucleus 6\n",
        b"species C\nnucleus\n",
        b"\0species C\nnucleus 6\n",
        b"",
        b"the species nucleus\n",
    ],
)
def test_other_files_are_not_recognised(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not fhi_aims.recognises(path)
    assert not fhi_aims.recognises(tmp_path)
    assert not fhi_aims.recognises(tmp_path / "missing")

"""The distribution: cheap to import, complete when it is installed from a wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import deeph_spec
import pytest
from deeph_spec.errors import InputError

SPEC = Path(__file__).parents[2] / "spec"


def python(code, *options, **settings):
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, **settings)


def test_importing_costs_nothing_until_something_is_used():
    code = (
        "import sys, time; start = time.process_time(); import deeph_spec\n"
        "elapsed = time.process_time() - start\n"
        "heavy = [name for name in ('numpy', 'h5py') if name in sys.modules]\n"
        "print(elapsed, heavy)"
    )
    elapsed = []
    for _ in range(3):
        seconds, heavy = python(code).stdout.split(maxsplit=1)
        assert heavy.strip() == "[]"
        elapsed.append(float(seconds))
    assert min(elapsed) < 0.010


def test_public_names():
    assert set(deeph_spec.__all__) <= set(dir(deeph_spec))
    for name in deeph_spec.__all__:
        assert getattr(deeph_spec, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = deeph_spec.no_such_thing


def test_an_input_error_is_one_line_and_survives_pickling():
    code = (
        "import pickle; from deeph_spec.errors import InputError\n"
        "error = pickle.loads(pickle.dumps(InputError('a\\n b', rule='E08', key='k')))\n"
        "print(error, error.rule, error.key)"
    )
    assert python(code).stdout == "a b E08 k\n"
    assert isinstance(InputError("x"), Exception)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = (
        "import os, sys; from hatchling.build import build_wheel\n"
        "os.chdir(sys.argv[1]); print(build_wheel(sys.argv[2]))"
    )
    pytest.importorskip("hatchling")
    command = [sys.executable, "-c", build, str(SPEC), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_schema_and_works_where_it_is_unpacked(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    schema = tmp_path / "deeph_spec" / "schema" / "info.schema.json"
    assert json.loads(schema.read_text()) == json.loads(
        (SPEC / "schema" / "info.schema.json").read_text()
    )
    assert (tmp_path / "deeph_spec" / "py.typed").exists()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import deeph_spec; print(deeph_spec.__file__)\n"
        "from deeph_spec.testing import random_dataset\n"
        "from deeph_spec.validation import validate_dataset\n"
        "print(validate_dataset(random_dataset(sys.argv[1] + '/data', 1)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    where, findings = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert findings == "[]"

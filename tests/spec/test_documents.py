"""The normative text agrees with the package: its example runs, its rules are the rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deeph_spec.orbitals import L_MAX
from deeph_spec.system import FORMAT_VERSION, KNOWN_KEYS
from deeph_spec.validation import RULES

SPEC = Path(__file__).parents[2] / "spec"
README = (SPEC / "README.md").read_text(encoding="utf-8")


def test_the_quick_start_runs_and_prints_no_finding(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("0001 [[0, 0, 0, 0, 0], ")
    assert lines[0].endswith("(4, 1, 1)")


def test_every_rule_is_in_the_text_once_and_no_other():
    assert re.findall(r"^\| ([EW]\d\d) \|", README, flags=re.MULTILINE) == list(RULES)


def test_keys_and_versions_are_those_of_the_package():
    table = README.split("## 4. info.json")[1].split("## 5.")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(KNOWN_KEYS)
    assert f"version {FORMAT_VERSION}" in README.splitlines()[0]
    assert f"## {FORMAT_VERSION}" in (SPEC / "CHANGELOG.md").read_text()
    assert f"l <= {L_MAX}" in README
    schema = json.loads((SPEC / "schema" / "info.schema.json").read_text())
    assert schema["$id"].endswith(FORMAT_VERSION)
    assert (SPEC / "golden" / FORMAT_VERSION).is_dir()

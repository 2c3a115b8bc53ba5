"""Atomic writing: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from deeph_spec.errors import InputError
from deeph_spec.files import readable, replace_file, replace_folder, sha256, write_text


def names(folder):
    return sorted(os.listdir(folder))


def test_a_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "data"
    with replace_file(target) as temporary:
        temporary.write_text("half")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".data.")
        assert temporary.name.endswith(f".{os.getpid()}.tmp")
        assert not target.exists()
    assert target.read_text() == "half"
    assert names(tmp_path) == ["data"]


def test_an_exception_leaves_the_old_file(tmp_path):
    target = tmp_path / "data"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), replace_file(target) as temporary:
        temporary.write_text("new \udc80", encoding="utf-8")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["data"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    original = tmp_path / "original"
    original.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(original)
    write_text(link, "new")
    assert original.read_text() == "old"
    assert not link.is_symlink()


def test_a_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"), replace_file(tmp_path / "no" / "x"):
        pass


def test_a_long_name_fits_into_the_file_system(tmp_path):
    write_text(tmp_path / ("x" * 250), "long")
    assert (tmp_path / ("x" * 250)).read_text() == "long"


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "text", "Å\r\nσ\n")
    assert (tmp_path / "text").read_bytes() == "Å\r\nσ\n".encode()


def test_a_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "a" / "b"
    with replace_folder(target) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("x")
        (temporary / "link").symlink_to("nowhere")
        assert not target.exists()
    assert (target / "inner" / "file").read_text() == "x"
    assert names(target.parent) == ["b"]
    with pytest.raises(InputError, match="exists already"), replace_folder(target):
        pass


def test_a_folder_that_fails_is_removed(tmp_path):
    with pytest.raises(UnicodeEncodeError), replace_folder(tmp_path / "b") as temporary:
        (temporary / "file").write_text("\udc80", encoding="utf-8")
    assert names(tmp_path) == []


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path):
    with replace_folder(tmp_path / "a") as temporary:
        name = temporary.name
    (tmp_path / name.replace(".a.", ".b.")).mkdir()
    (tmp_path / name.replace(".a.", ".b.") / "old").write_text("x")
    with replace_folder(tmp_path / "b") as temporary:
        assert names(temporary) == []
    assert names(tmp_path) == ["a", "b"]


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_killed_writer_never_leaves_half_a_file(tmp_path):
    """A reader that looks all the time sees complete files only, whenever the writer dies."""
    target = tmp_path / "data"
    script = (
        "import sys; from deeph_spec.files import write_text\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    write_text(sys.argv[1], f'{n}\\n' * 20000)\n"
    )
    for delay in (0.15, 0.21, 0.27):
        process = subprocess.Popen([sys.executable, "-c", script, str(target)])
        end = time.monotonic() + 5
        while not target.exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = target.read_text().split()
        assert len(lines) == 20000
        assert len(set(lines)) == 1
        assert all(name == "data" or name.endswith(".tmp") for name in names(tmp_path))


def test_files_within_an_unfinished_folder_are_flushed_once(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr("deeph_spec.files._flush", lambda path: flushed.append(path.name))
    with replace_folder(tmp_path / "run") as beside:
        write_text(beside / "a.txt", "a")
        assert not flushed
    assert flushed.count("a.txt") == 1
    write_text(tmp_path / "run" / "a.txt", "b")
    assert len(flushed) > 2


def test_paths_are_shown_as_they_would_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert readable(tmp_path / "runs" / "1") == "runs/1"
    assert readable("runs/1") == "runs/1"
    assert readable(tmp_path.parent) == str(tmp_path.parent)


def test_an_error_names_the_target_and_not_the_temporary_file(tmp_path):
    def write_into_a_folder_that_vanishes():
        with replace_file(tmp_path / "gone" / "a.txt") as beside:
            beside.parent.rmdir()
            beside.write_text("x")

    (tmp_path / "gone").mkdir()
    with pytest.raises(OSError) as caught:
        write_into_a_folder_that_vanishes()
    assert caught.value.filename == str(tmp_path / "gone" / "a.txt")

"""A failed write leaves the old file; unreadable and unwritable paths are reported early."""

import errno
import os
import resource
import subprocess

import pytest

from drivemim.files import (
    RealPaths,
    ensure_folder,
    ensure_writable,
    path_from,
    plain_path,
    remove_abandoned,
    why_unreadable,
    write_bytes,
)


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "iter_4.pth"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match=r"No space left on device: '.*iter_4\.pth'"):
        write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["iter_4.pth"]


def test_a_disk_that_fills_up_half_way(tmp_path):
    path = tmp_path / "iter_4.pth"
    write_bytes(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"iter_4\.pth"):
            write_bytes(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["iter_4.pth"]


def test_real_paths_of_names_of_one_file(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "1.jpg"
    file.write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "a" / "2.jpg").symlink_to(file)
    real = RealPaths()
    names = ("a/b/1.jpg", "link/1.jpg", "a/2.jpg", "a//b/./1.jpg", "link/../b/1.jpg")
    assert {real(tmp_path / name) for name in names} == {os.path.realpath(file)}
    assert real(f"{tmp_path}/link/..") == os.path.realpath(tmp_path / "a")
    assert real(tmp_path / "link") == os.path.realpath(tmp_path / "a" / "b")


def test_paths_from_a_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    real = RealPaths()
    assert path_from(tmp_path / "a", tmp_path / "a" / "b" / "1.jpg", real) == "b/1.jpg"
    assert path_from(tmp_path / "a", tmp_path / "link" / "1.jpg", real) == "b/1.jpg"
    assert path_from(tmp_path / "link", tmp_path / "a" / "b" / "1.jpg", real) == "1.jpg"
    assert path_from(tmp_path / "a" / "b", tmp_path / "a" / "1.jpg", real) == f"{tmp_path}/a/1.jpg"
    assert plain_path(f"{tmp_path}/link/../b/./1.jpg") == (tmp_path / "a/b/1.jpg").resolve()
    assert plain_path(f"{tmp_path}/a/../link/1.jpg") == tmp_path / "link" / "1.jpg"


def test_why_a_file_cannot_be_read(tmp_path, monkeypatch):
    file = tmp_path / "0.jpg"
    assert why_unreadable(file) == "is missing"
    assert why_unreadable(file / "1.jpg") == "is missing"
    file.touch()
    assert why_unreadable(file) == "is empty"
    file.write_bytes(b"x")
    assert why_unreadable(file) is None
    assert why_unreadable(tmp_path) == "is not a file"
    link = tmp_path / "1.jpg"
    link.symlink_to(file)
    assert why_unreadable(link) is None
    file.unlink()
    assert why_unreadable(link) == "is a link to a missing file"
    os.mkfifo(file)
    assert why_unreadable(file) == "is not a file"

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert why_unreadable(file) == "cannot be opened (Permission denied)"
    monkeypatch.setattr(os, "open", no_space)
    with pytest.raises(OSError, match="No space left"):
        why_unreadable(file)


def test_an_unwritable_file_is_refused_before_the_work(tmp_path, monkeypatch):
    ensure_writable(tmp_path / "new" / "folder" / "index.arrow")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    message = r"index\.arrow cannot be written: .* is read-only; name another place"
    with pytest.raises(PermissionError, match=message):
        ensure_writable(tmp_path / "new" / "folder" / "index.arrow")


def test_an_unwritable_folder_is_refused_before_the_work(tmp_path, monkeypatch):
    ensure_folder(tmp_path)
    ensure_folder(tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"file is a file; name a folder"):
        ensure_folder(file)
    with pytest.raises(NotADirectoryError, match=r"below cannot be written: .*file is a file"):
        ensure_folder(file / "below")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="link is a link to a missing folder"):
        ensure_folder(tmp_path / "link")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(PermissionError, match="read-only; name another folder"):
            ensure_folder(path)


def test_leftovers_of_killed_processes_are_removed_by_the_next_write(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tmp_path / "b[1].json"
    left = tmp_path / f".b[1].json.{dead.pid}.partial"
    kept = [
        tmp_path / f".b[1].json.{os.getppid()}.partial",  # its process is alive
        tmp_path / f".b[1].json.{dead.pid}",
        tmp_path / f".b1.json.{dead.pid}.partial",
        tmp_path / f"b[1].json.{dead.pid}.partial",
        tmp_path / ".b[1].json.x.partial",
    ]
    for file in (left, *kept):
        file.write_text("x")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])
    # Abandoned folders are removed as well, but not the target of a link.
    folder = tmp_path / "frames"
    (tmp_path / f".frames.{dead.pid}.partial" / "inside").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / f".frames.{dead.pid}0000000000.partial").symlink_to(tmp_path / "mine")
    remove_abandoned(folder)
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept, tmp_path / "mine"])

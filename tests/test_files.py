"""A write that fails leaves what was there."""

import errno
import os
import resource

import pytest

from drivemim.files import RealPaths, path_from, plain_path, write_bytes


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

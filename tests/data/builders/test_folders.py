"""Other files in folders of recordings."""

import pytest

from drivemim.data.index.builders.folders import list_folders
from drivemim.data.index.builders.frames import build_frames_index

OTHERS = ("a/1.tif", "a/2.TIF", "a/3.tiff", "a/4.jfif", "b/5.heic", "b/6.raw", "b/7.npy", "8.h264")


@pytest.fixture
def put(tmp_path):
    """Writes files that are not looked into."""

    def put(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"content")
        return tmp_path

    return put


def test_images_and_videos_of_other_formats_are_counted(put, capsys):
    root = put(*OTHERS, "a/1.txt", "a/0.JPG", "a/0.bmp", "a/0.webp", "b/0.mp4")
    ((_, folders),) = list_folders([root])
    assert [(folder.images, folder.videos) for folder in folders] == [
        (("0.JPG", "0.bmp", "0.webp"), ()), ((), ("0.mp4",))
    ]  # fmt: skip
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "left out 8 files of formats that are not read: .h264 (1), .heic (1), .jfif (1), .npy (1), "
        ".raw (1), .tif (2), .tiff (1); convert them to one of .jpg, "
    )


def test_no_line_where_nothing_is_left_out(put, capsys):
    list_folders([put("a/0.jpg", "a/0.txt", "labels.json")])
    assert capsys.readouterr().out == ""


def test_existing_files_are_named(put, tmp_path):
    root = put(*OTHERS, "notes.txt", "LICENSE")
    with pytest.raises(FileNotFoundError) as caught:
        build_frames_index([root], tmp_path.parent / "index.arrow")
    assert (
        "; there are .h264 (1), .heic (1), .jfif (1), .npy (1), .raw (1), .tif (2), .tiff (1), "
        ".txt (1), LICENSE (1): convert images and videos" in str(caught.value)
    )

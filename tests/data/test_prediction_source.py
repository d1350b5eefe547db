import os

import cv2
import numpy as np
import pytest
from color_images import color_image, write_image
from PIL import Image
from video_files import rotate, write_video

from drivemim.data.detection.prediction_source import PredictionSource, UnreadableImages
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError, DataError


def images(path, skip=False, **options):
    return list(PredictionSource(path=path, **options).images(UnreadableImages(skip=skip)))


def label_map(height, width):
    """Two values, each in half of the columns."""
    values_HW = np.zeros((height, width), np.uint8)
    values_HW[:, width // 2 :] = 1
    return values_HW


def turned(path):
    """A JPEG that programs show turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(color_image()).save(path, exif=exif)
    return path


def test_an_image_is_read_in_bgr_at_its_own_size(tmp_path):
    path = write_image(tmp_path / "wide.png")
    (image,) = images(path)
    assert (image.path, image.size, image.picture) == (path, (200, 400), "wide.png.jpg")
    np.testing.assert_array_equal(image.read(), color_image())
    assert image.read((50, 60)).shape == (50, 60, 3)
    assert PredictionSource(path=path).name == "wide"


def test_a_folder_has_what_an_index_of_it_would_have(tmp_path):
    """Same suffixes, folders and order; hidden files and label maps are left out."""
    root = tmp_path / "drive.1"
    for name in ("b/2.jpg", "b/10.JPG", "a.png", "c/d/0.webp", ".hidden/0.jpg", "@eaDir/1.jpg"):
        write_image(root / name)
    write_image(root / "masks" / "2.png", label_map(200, 400))
    write_image(root / "b" / "._2.jpg")
    (root / "notes.txt").write_text("mine")
    index = build_frames_index([root], tmp_path / "index.arrow")
    found = images(root)
    assert [each.picture for each in found] == ["a.png.jpg", "b/2.jpg", "b/10.JPG",
                                                "c/d/0.webp.jpg"]  # fmt: skip
    assert sorted(str(each.path) for each in found) == sorted(
        str(each.path) for each in images(index)
    )
    assert PredictionSource(path=root).name == "drive.1"


def test_a_folder_of_label_maps_is_read_if_it_is_named(tmp_path, capsys):
    write_image(tmp_path / "images" / "0.jpg")
    write_image(tmp_path / "masks" / "0.png", label_map(20, 20))
    assert len(images(tmp_path)) == 1
    said = capsys.readouterr().out
    assert f"if they are frames, predict on {tmp_path / 'masks'}" in said.replace("\n", " ")
    assert len(images(tmp_path / "masks")) == 1


def test_pictures_have_different_names(tmp_path):
    """b.png would get the name of b.png.jpg, and c.png that of a folder."""
    for name in ("a.png", "b.png", "b.png.jpg", "b.png.jpg.jpg", "c.png", "c.png.jpg/d.jpg"):
        write_image(tmp_path / name)
    names = {
        "a.png": "a.png.jpg",
        "b.png": "b.png.jpg.jpg.jpg",
        "b.png.jpg": "b.png.jpg",
        "b.png.jpg.jpg": "b.png.jpg.jpg",
        "c.png": "c.png.jpg.jpg",
        "c.png.jpg/d.jpg": "c.png.jpg/d.jpg",
    }
    found = {each.path.relative_to(tmp_path).as_posix(): each.picture for each in images(tmp_path)}
    assert found == names
    # The same ones in every selection.
    assert {each.picture for each in images(tmp_path, max_images=2)} <= set(names.values())


def test_two_videos_of_a_folder_stay_two(tmp_path):
    write_video(tmp_path / "drive.avi", [0, 0], rate=10)
    write_video(tmp_path / "drive.avi.mp4", [0, 0], codec="mp4v")
    found = [(each.path.name, each.picture) for each in images(tmp_path)]
    assert (
        found == [("drive.avi", "drive.avi.mp4.mp4")] * 2 + [("drive.avi.mp4", "drive.avi.mp4")] * 2
    )


def test_a_video_gives_its_frames_and_their_times(tmp_path):
    video = write_video(tmp_path / "drive.avi", range(0, 100, 10), rate=10)
    found = images(video, every=3)
    assert [each.frame for each in found] == [0, 3, 6, 9]
    np.testing.assert_allclose([each.time for each in found], [0, 0.3, 0.6, 0.9], atol=1e-6)
    assert {each.picture for each in found} == {"drive.avi.mp4"}
    assert found[0].size == (48, 64)
    np.testing.assert_allclose(
        [each.read()[24, 40].mean() for each in found], [0, 30, 60, 90], atol=2
    )
    # The corner is red: BGR.
    assert found[0].read((12, 16))[1, 1].argmax() == 2


def test_a_video_stands_as_the_phone_was_held(tmp_path):
    video = write_video(tmp_path / "phone.mp4", [60, 60], codec="mp4v")
    rotate(video)
    first = images(video)[0]
    assert first.size == (64, 48)
    assert first.read()[8, -6, 2] > 200  # the corner at the top left goes to the top right


def test_images_and_videos_of_a_folder_are_taken_together(tmp_path):
    for number in range(5):
        write_image(tmp_path / "a" / f"{number}.jpg")
    write_video(tmp_path / "b" / "drive.mp4", [0, 50, 100], codec="mp4v")
    found = images(tmp_path, every=2)
    assert [each.picture for each in found] == ["a/0.jpg", "a/2.jpg", "a/4.jpg"] + [
        "b/drive.mp4"
    ] * 2
    assert [each.picture for each in images(tmp_path, max_images=6)][-1] == "b/drive.mp4"
    assert len(images(tmp_path, max_images=2)) == 2


@pytest.fixture
def index(tmp_path):
    for scene, count in (("a", 5), ("b", 4)):
        for number in range(count):
            write_image(tmp_path / scene / f"{number}.jpg")
    return build_frames_index([tmp_path / "a", tmp_path / "b"], tmp_path / "index.arrow")


def test_frames_of_an_index_have_its_names(index):
    found = images(index, scenes="b", cameras=["camera"])
    assert [each.picture for each in found] == [f"{row:06d}_camera.jpg" for row in range(5, 9)]
    assert {(each.scene, each.camera) for each in found} == {("b", "camera")}
    assert len({each.token for each in found}) == 4
    assert "" not in {each.token for each in found}
    # Every second frame of each scene: 0, 2, 4 and 5, 7.
    assert [int(each.picture[:6]) for each in images(index, every=2)] == [0, 2, 4, 5, 7]
    assert [int(each.picture[:6]) for each in images(index, every=2, max_images=4)] == [0, 2, 4, 5]
    with pytest.raises(DataError, match="has no camera 'camrea'.*did you mean 'camera'"):
        images(index, cameras=["camrea"])
    with pytest.raises(DataError, match="has no scene or split 'c'"):
        images(index, scenes="c")


def test_frames_of_an_index_that_are_missing_are_named(index, tmp_path):
    (tmp_path / "b" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"b/1\.jpg of frame .* is missing.*--skip-unreadable"):
        [UnreadableImages(skip=False).read(each) for each in images(index)]
    unreadable = UnreadableImages(skip=True)
    read = [unreadable.read(each) for each in images(index)]
    assert sum(each is None for each in read) == unreadable.count == 1


def damaged(folder):
    """Two good images between one of each kind that cannot be read."""
    good = write_image(folder / "0.jpg")
    write_image(folder / "9.jpg")
    (folder / "1.jpg").write_bytes(b"")
    (folder / "2.jpg").write_text("<html>not found</html>")
    turned(folder / "3.jpg")
    cv2.imwrite(str(folder / "4.png"), np.zeros((9, 9), np.uint16))
    (folder / "5.jpg").write_bytes(good.read_bytes()[:-900])
    return folder


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1.jpg", "is not a readable image"),
        ("2.jpg", "is not a readable image"),
        ("3.jpg", "has EXIF orientation 6: programs show it turned by 90 degrees clockwise"),
        ("4.png", "has 16 bits per channel"),
        ("5.jpg", "is truncated"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path, name, said):
    path = damaged(tmp_path) / name
    unreadable = UnreadableImages(skip=False)
    with pytest.raises(DataError) as error:
        [unreadable.read(each) for each in PredictionSource(path=path).images(unreadable)]
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert str(error.value).endswith("; --skip-unreadable leaves such files out")
    assert "\n" not in str(error.value)


def test_images_that_cannot_be_read_are_skipped_and_counted(tmp_path, capsys):
    damaged(tmp_path)
    (tmp_path / "6.mp4").write_bytes(b"not a video")
    unreadable = UnreadableImages(skip=True)
    source = PredictionSource(path=tmp_path)
    read = [(each.picture, unreadable.read(each)) for each in source.images(unreadable)]
    assert [name for name, image in read if image is not None] == ["0.jpg", "9.jpg"]
    assert unreadable.count == 6
    assert capsys.readouterr().out.count("skipped: ") == 6


def test_a_wrong_header_is_found_before_the_first_image(tmp_path):
    write_image(tmp_path / "0.jpg")
    turned(tmp_path / "1.jpg")
    with pytest.raises(DataError, match=r"1\.jpg has EXIF orientation"):
        PredictionSource(path=tmp_path).images(UnreadableImages(skip=False))


def test_paths_that_are_no_source_are_refused(tmp_path):
    write_image(tmp_path / "drive.jpg")
    (tmp_path / "drive.tif").write_bytes(b"II*\0")
    with pytest.raises(FileNotFoundError, match=r"no image, folder, video or index at .*drive\.jp"):
        PredictionSource(path=tmp_path / "drive.jpe")
    with pytest.raises(FileNotFoundError, match="did you mean 'drive.jpg'"):
        PredictionSource(path=tmp_path / "drvie.jpg")
    with pytest.raises(DataError, match=r"drive\.tif is not an image \(\.jpg.*a video.*an index"):
        PredictionSource(path=tmp_path / "drive.tif")
    (tmp_path / "empty" / "texts").mkdir(parents=True)
    (tmp_path / "empty" / "texts" / "a.txt").write_text("a")
    with pytest.raises(FileNotFoundError) as error:
        images(tmp_path / "empty")
    assert f"under {tmp_path / 'empty'}; there are .txt (1): convert" in str(error.value)
    assert "--root" not in str(error.value)
    empty = tmp_path / "empty.arrow"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match="is not an index of DriveMIM"):
        images(empty)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "--every 0 must be 1 or more"),
        ({"max_images": 0}, "--max-images 0 must be 1 or more"),
        ({"scenes": ["a"]}, "--scenes selects frames of an index, but .* is an image; leave"),
        ({"cameras": ["a"]}, "--cameras selects frames of an index"),
        ({"sweeps": True}, "--sweeps selects frames of an index"),
    ],
)
def test_options_that_do_not_fit_the_source_are_refused(tmp_path, options, said):
    path = write_image(tmp_path / "0.jpg")
    with pytest.raises(ConfigError, match=said):
        PredictionSource(path=path, **options)


def test_pictures_never_replace_or_become_images(tmp_path, index):
    path = write_image(tmp_path / "images" / "0.jpg")
    folder = path.parent
    linked = tmp_path / "linked"
    os.symlink(folder, linked)
    for source, out in ((path, folder), (folder, folder), (folder, folder / "new" / "shown"),
                        (folder, linked), (path, linked)):  # fmt: skip
        with pytest.raises(ConfigError, match="is in the folder of the images"):
            PredictionSource(path=source).check_out(out)
    for source, out in ((path, folder / "shown"), (folder, tmp_path / "images-shown"),
                        (index, tmp_path)):  # fmt: skip
        PredictionSource(path=source).check_out(out)

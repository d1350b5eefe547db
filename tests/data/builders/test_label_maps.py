"""Folders of segmentation masks beside folders of photographs."""

import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


def image_of(values):
    """30 x 40 pixels with this number of distinct values; few are areas, as in label maps."""
    area = 60 if values <= 64 else 1
    return (np.arange(1200) // area % values).reshape(30, 40).astype(np.uint8)


@pytest.fixture
def put(tmp_path):
    def put(folder, mode, values, suffix="png", names=("0", "1")):
        """Write images with this number of distinct values."""
        pixels = image_of(values) * (255 if mode == "1" else 1)
        for name in names:
            path = tmp_path / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels + int(name)).convert(mode).save(path)

    return put


def folders_of(tmp_path, *roots):
    out = tmp_path.parent / f"{tmp_path.name}.arrow"
    index = FrameIndex.open(build_frames_index(roots or [tmp_path], out))
    root = tmp_path if not roots else None
    return sorted(
        {(path if root is None else path).rpartition("/")[0] for path in index.frames.path}
    )


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_label_maps_beside_photographs_are_left_out(put, tmp_path, mode, capsys):
    put("data/images", "RGB", 200, "jpg")
    put("data/masks", mode, 2 if mode == "1" else 20, names=("0",))
    assert folders_of(tmp_path) == ["data/images"]
    out = capsys.readouterr().out
    line = (
        f"left out {tmp_path}/data/masks: its 1 PNG files are label maps (masks) of the images in "
    )
    assert f"{line}{tmp_path}/data/images; if they are frames, add --root {tmp_path}/" in out


def test_label_maps_of_several_drives(put, tmp_path):
    for drive in ("monday", "tuesday"):
        put(f"images/{drive}", "RGB", 200)
        put(f"masks/{drive}", "L", 3)
    assert folders_of(tmp_path) == ["images/monday", "images/tuesday"]


def test_other_folders_of_grey_images_are_kept(put, tmp_path):
    """An infrared camera of the same names, masks without photographs, and other names."""
    put("rig/colour", "RGB", 200)
    put("rig/infrared", "L", 65)
    put("drawn/one", "L", 3, names=("5",))
    put("drawn/two", "L", 3, names=("5",))
    put("rig/near", "L", 3, names=("10", "51"))
    assert folders_of(tmp_path) == [
        "drawn/one",
        "drawn/two",
        "rig/colour",
        "rig/infrared",
        "rig/near",
    ]


@pytest.mark.parametrize(
    ("photograph", "label"),
    [
        ("{}", "{}_mask"), ("{}", "mask_{}"), ("{}", "{}_train_id"), ("{}", "{}-labels"),
        ("a_{}_leftImg8bit", "a_{}_gtFine_labelIds"), ("{}", "{}_L"), ("{}", "{}_anything"),
    ],
)  # fmt: skip
def test_label_maps_may_have_longer_names(tmp_path, photograph, label, capsys):
    for folder, name, mode, values in (("images", photograph, "RGB", 200), ("gt", label, "L", 2)):
        (tmp_path / folder / "a").mkdir(parents=True)
        pixels = image_of(values)
        for number in range(2):
            image = Image.fromarray(pixels + number).convert(mode)
            image.save(tmp_path / folder / "a" / f"{name.format(f'00000{number}')}.png")
    assert folders_of(tmp_path) == ["images/a"]
    assert "label maps (masks)" in capsys.readouterr().out


def test_label_maps_among_photographs_are_left_out_by_their_names(put, tmp_path, capsys):
    put("d", "RGB", 200, "jpg")
    put("d", "RGB", 200, names=("2",))
    for name, mode, values in (("0_mask", "L", 2), ("1_gtFine_color", "RGB", 9), ("x_id", "L", 9)):
        pixels = image_of(values)
        Image.fromarray(pixels).convert(mode).save(tmp_path / "d" / f"{name}.png")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "d" / "2_color.png")  # of a depth camera
    out = tmp_path.parent / "named.arrow"
    index = FrameIndex.open(build_frames_index([tmp_path / "d"], out))
    assert sorted(index.frames.path) == ["0.jpg", "1.jpg", "2.png", "2_color.png", "x_id.png"]
    said = capsys.readouterr().out
    assert "left out 2 PNG files that are label maps (masks) by their names" in said


def test_a_root_of_masks_is_kept(put, tmp_path):
    put("images", "RGB", 200)
    put("masks", "L", 3)
    assert folders_of(tmp_path, tmp_path / "images", tmp_path / "masks") == ["images", "masks"]


def test_dark_photographs_are_kept(tmp_path):
    """Noise of a mono camera has few grey levels, but no areas of one."""
    random = np.random.default_rng(0)
    for number in range(3):
        for folder, pixels in (
            ("day/cam", random.integers(0, 256, (30, 40, 3))),
            ("night/cam", random.normal(14, 3, (30, 40)).clip(0, 255)),
        ):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / f"{number}.png")
    assert folders_of(tmp_path) == ["day/cam", "night/cam"]


@pytest.mark.parametrize("ending", ["", "_l"])
def test_black_frames_do_not_decide(tmp_path, ending):
    """Of thirty frames, the first, the middle and the last are black; images alone as well."""
    random = np.random.default_rng(0)
    for number in range(30):
        for folder in ("colour", "other", "black"):
            (tmp_path / folder).mkdir(exist_ok=True)
            pixels = random.integers(0, 256, (30, 40, 3), np.uint8)
            if folder == "black" or (folder == "other" and number in (0, 14, 29)):
                pixels[:] = 0
            if folder != "colour" and not ending:
                pixels = pixels[..., 0]
            name = f"{number}{ending if folder != 'colour' else ''}.png"
            Image.fromarray(pixels).save(tmp_path / folder / name)
    out = tmp_path.parent / f"{tmp_path.name}.arrow"
    index = FrameIndex.open(build_frames_index([tmp_path], out))
    assert len(index.frames) == 90

"""Folders of segmentation masks beside folders of photographs."""

import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


@pytest.fixture
def put(tmp_path):
    def put(folder, mode, values, suffix="png", names=("0", "1")):
        """Writes images of 40 x 30 pixels with this number of distinct values."""
        pixels = (np.arange(1200) % values).reshape(30, 40).astype(np.uint8)
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
    put("data/masks", mode, 20, names=("0",))
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
        pixels = (np.arange(1200) % values).reshape(30, 40).astype(np.uint8)
        for number in range(2):
            image = Image.fromarray(pixels + number).convert(mode)
            image.save(tmp_path / folder / "a" / f"{name.format(f'00000{number}')}.png")
    assert folders_of(tmp_path) == ["images/a"]
    assert "label maps (masks)" in capsys.readouterr().out


def test_label_maps_among_photographs_are_left_out_by_their_names(put, tmp_path, capsys):
    put("d", "RGB", 200, "jpg")
    put("d", "RGB", 200, names=("2",))
    for name, mode, values in (("0_mask", "L", 2), ("1_gtFine_color", "RGB", 9), ("x_id", "L", 9)):
        pixels = (np.arange(1200) % values).reshape(30, 40).astype(np.uint8)
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

"""Pictures of clips, pixel by pixel."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from drivemim.clips import Clips
from drivemim.models import Reconstruction
from drivemim.visualization.panels import (
    GAP,
    HEADER_HEIGHT,
    HIDDEN_GREY,
    LINE_HEIGHT,
    MISSING_GREY,
    PEDESTRIAN,
    ROW_LABEL_WIDTH,
    SWATCH_SIZE,
    VEHICLE,
    clip_panel,
    draw_boxes,
    draw_error_map,
    draw_legend,
    encode_image,
    fill_masked,
    overlay_mask,
    reconstruction_legend,
    reconstruction_panel,
    save_image,
    to_pixels,
    track_color,
)

H, W, PATCH = 32, 64, 16


@pytest.fixture
def clips():
    """One clip, 2 steps x 3 cameras; frame (t, n) is of the grey 10 + 40 t + 20 n."""
    T, N, M = 2, 3, 2
    grey_TN = 10 + 40 * torch.arange(T)[:, None] + 20 * torch.arange(N)
    images = grey_TN[None, :, :, None, None, None].expand(1, T, N, H, W, 3).to(torch.uint8)
    valid = torch.ones(1, T, N, dtype=torch.bool)
    valid[0, 1, 2] = False
    boxes = torch.tensor([[8.0, 4.0, 40.0, 28.0], [0.0, 0.0, 0.0, 0.0]]).expand(1, T, N, M, 4)
    return Clips(
        images_BTNHWC=images.contiguous(),
        intrinsics_BTN33=torch.eye(3).expand(1, T, N, 3, 3),
        camera_to_clip_BTN44=torch.eye(4).expand(1, T, N, 4, 4),
        timestamps_BTN=torch.tensor([[[100, 90, 110], [500_100, 500_090, 0]]]),
        valid_BTN=valid,
        boxes_BTNM4=boxes,
        labels_BTNM=torch.tensor([1, -1]).expand(1, T, N, M),
        tracks_BTNM=torch.tensor([7, -1]).expand(1, T, N, M),
        depths_BTNM=torch.ones(1, T, N, M),
        points_BTNP3=torch.zeros(1, T, N, 0, 3),
        seeds_B=torch.zeros(1, dtype=torch.int64),
        tokens=((("a", "b", "c"), ("d", "e", "")),),
    )


def reconstruction_of(clips, errors=1.0):
    B, T, N = clips.shape
    mask = torch.zeros(B, T, N, H // PATCH, W // PATCH, dtype=torch.bool)
    mask[..., 0, 1] = True
    return Reconstruction(
        mask_BTNhw=mask,
        images_BTNHWC=clips.images_BTNHWC + 5,
        errors_BTNhw=torch.where(mask, torch.tensor(errors), torch.tensor(0.0)),
    )


def tile(panel, row, column, tile_height=H, tile_width=W):
    """The pixels of a tile of a panel whose tiles are as large as the frames."""
    top = HEADER_HEIGHT + row * (tile_height + GAP)
    left = ROW_LABEL_WIDTH + column * (tile_width + GAP)
    return panel[top : top + tile_height, left : left + tile_width]


def test_patches_become_pixels():
    patches = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(
        to_pixels(patches, (2, 4)), np.array([[1, 1, 2, 2], [3, 3, 4, 4]])
    )


def test_hide_paints_hidden_patches_only():
    image = np.full((H, W, 3), 90, np.uint8)
    mask = np.zeros((2, 4), bool)
    mask[1, 3] = True
    hidden = fill_masked(image, mask)
    assert (hidden[16:, 48:] == HIDDEN_GREY).all()
    assert (hidden == HIDDEN_GREY).sum() == 16 * 16 * 3
    assert (image == 90).all()


def test_overlay_mixes_the_tint_with_hidden_patches():
    image = np.full((2, 2, 3), 100, np.uint8)
    mask = np.array([[True, False], [False, False]])
    drawn = overlay_mask(image, mask, color=(0, 0, 200), opacity=0.25)
    assert drawn[0, 0].tolist() == [75, 75, 125]
    assert (drawn.reshape(-1, 3)[1:] == 100).all()


def test_nothing_hidden_changes_nothing():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    nothing = np.zeros((2, 2), bool)
    np.testing.assert_array_equal(fill_masked(image, nothing), image)
    np.testing.assert_array_equal(overlay_mask(image, nothing), image)


def test_error_map_is_brighter_where_the_error_is_larger():
    errors = np.array([[0.0, 1.0, 9.0, np.nan]])
    heat = draw_error_map(errors, np.array([[True, True, True, True]]), worst=2.0)
    brightness = heat.astype(int).sum(-1)[0]
    assert brightness[0] < brightness[1] < brightness[2]
    assert brightness[3] == brightness[0]
    grey = draw_error_map(errors, np.zeros((1, 4), bool), worst=2.0)
    assert (grey == MISSING_GREY).all()


def test_boxes_have_the_colour_of_their_class_and_padding_is_left_out():
    image = np.zeros((H, W, 3), np.uint8)
    boxes = np.array([[4.0, 4.0, 20.0, 28.0], [30.0, 4.0, 60.0, 28.0], [0.0, 0.0, 0.0, 0.0]])
    drawn = draw_boxes(image, boxes, np.array([0, 1, -1]))
    assert tuple(drawn[27, 12]) == PEDESTRIAN
    assert tuple(drawn[27, 45]) == VEHICLE
    assert (drawn[0, 0] == 0).all()
    assert (image == 0).all()


def test_a_box_is_outlined_by_the_first_and_last_pixels_inside_it():
    image = np.zeros((H, W, 3), np.uint8)
    # Pixel i spans [i, i + 1]: columns 4 to 19 and rows 6 to 27 lie between the edges.
    rows, columns = draw_boxes(image, np.array([[4.0, 6, 20, 28]]), np.array([0])).any(2).nonzero()
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (4, 19, 6, 27)
    # The whole image, and a box without extent.
    drawn = draw_boxes(image, np.array([[0.0, 0, W, H], [9, 9, 9, 9]]), np.array([0, 1]))
    assert (drawn[H - 1] == PEDESTRIAN).all()
    assert (drawn[:, W - 1] == PEDESTRIAN).all()
    assert np.argwhere((drawn == VEHICLE).all(2)).tolist() == [[9, 9]]


def test_track_chip_is_in_the_corner():
    image = np.zeros((H, W, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[4.0, 4.0, 40.0, 28.0]]), np.array([1]), np.array([7]))
    assert tuple(drawn[8, 8]) == track_color(7)


def test_neighbouring_tracks_have_different_colours():
    colors = [track_color(track) for track in range(8)]
    assert len(set(colors)) == 8
    assert track_color(3) == colors[3]


def test_no_boxes():
    image = np.full((4, 4, 3), 7, np.uint8)
    drawn = draw_boxes(image, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, int))
    np.testing.assert_array_equal(drawn, image)


def test_clip_panel_puts_steps_in_rows_and_cameras_in_columns(clips):
    panel = clip_panel(clips, tile_width=W, boxes=False)
    assert panel.shape == (HEADER_HEIGHT + 2 * (H + GAP), ROW_LABEL_WIDTH + 3 * (W + GAP), 3)
    assert (tile(panel, 0, 2) == 50).all()
    assert (tile(panel, 1, 1) == 70).all()


def test_clip_panel_draws_boxes_and_says_missing(clips):
    panel = clip_panel(clips, tile_width=W)
    assert tuple(tile(panel, 0, 0)[27, 24]) == VEHICLE
    missing = tile(clip_panel(clips, tile_width=W, boxes=False), 1, 2)
    assert (missing[:8] == MISSING_GREY).all()
    assert (missing < MISSING_GREY).any()


def test_reconstruction_panel_has_four_rows_a_step(clips):
    panel = reconstruction_panel(clips, reconstruction_of(clips), tile_width=W)
    frames_end = HEADER_HEIGHT + 8 * (H + GAP)
    assert panel.shape[0] > frames_end
    original, masked, filled, error = (tile(panel, 4 + row, 1) for row in range(4))
    assert (original == 70).all()
    assert (masked[:PATCH, PATCH : 2 * PATCH] == HIDDEN_GREY).all()
    assert (masked[PATCH:] == 70).all()
    assert (filled == 75).all()
    assert (error[PATCH:] == MISSING_GREY).all()
    assert error[:PATCH, PATCH : 2 * PATCH].astype(int).sum(-1).min() > 500


def test_reconstruction_panel_ends_with_its_legend(clips):
    plain = reconstruction_of(clips)
    noted = replace(plain, pixels_note="each hidden patch with its true mean and contrast")
    for reconstruction in (plain, noted):
        panel = reconstruction_panel(clips, reconstruction, tile_width=W)
        entries = reconstruction_legend(reconstruction.pixels_note, worst=1.0)
        legend = draw_legend(entries, panel.shape[1])
        np.testing.assert_array_equal(panel[HEADER_HEIGHT + 8 * (H + GAP) :], legend)


def test_legend_explains_colours_and_has_the_note_of_the_target():
    samples, texts = zip(*reconstruction_legend("strokes", 0.8312), strict=True)
    assert texts == (
        "masked: hidden patch",
        "reconstruction (strokes)",
        "error: black is 0, yellow 0.83 (the clip's 95th percentile) or more",
        "error: visible patch, which is not predicted",
    )
    assert reconstruction_legend("", 1.0)[1][1] == "reconstruction"
    assert (samples[0] == HIDDEN_GREY).all()
    assert (samples[3] == MISSING_GREY).all()
    # OpenCV's INFERNO, BGR: (4, 0, 0) is its darkest and (164, 255, 252) its brightest colour.
    assert samples[2][0, 0].tolist() == [4, 0, 0]
    assert samples[2][0, -1].tolist() == [164, 255, 252]


def test_long_legends_are_wrapped_and_nothing_is_cut():
    entry = (np.zeros((*SWATCH_SIZE, 3), np.uint8), " ".join(["word"] * 12))
    wide, narrow = draw_legend([entry], 900), draw_legend([entry], 300)
    assert wide.shape == (LINE_HEIGHT, 900, 3)
    assert narrow.shape[0] > LINE_HEIGHT
    # No text reaches the last column, and the same words have about the same amount of ink.
    assert (narrow[:, -1] == 255).all()
    ink = [(panel[:, ROW_LABEL_WIDTH:] < 200).any(2).sum() for panel in (wide, narrow)]
    assert abs(ink[0] - ink[1]) < 0.02 * ink[0]


def test_reconstruction_without_anything_hidden(clips):
    nothing = reconstruction_of(clips, errors=0.0)
    nothing.mask_BTNhw.zero_()
    panel = reconstruction_panel(clips, nothing, tile_width=W)
    assert (tile(panel, 3, 0) == MISSING_GREY).all()


def test_png_keeps_every_pixel_and_leaves_no_part(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    path = tmp_path / "new" / "image.png"
    save_image(path, image)
    np.testing.assert_array_equal(cv2.imread(str(path)), image)
    assert [file.name for file in path.parent.iterdir()] == ["image.png"]


def test_jpeg_bytes():
    assert encode_image(np.zeros((8, 8, 3), np.uint8)).startswith(b"\xff\xd8")

"""2-D boxes of ground truth against the devkit's own export of 2-D boxes.

The export (``nuscenes.scripts.export_2d_annotations_as_json``) projects the corners of a box that
are in front of the camera and drops the others. So it is right where all eight are in front, and
there ours has to agree. Where some are behind, the reference is exact and of another kind: the box
and the camera's field of view are twelve half-spaces, whose intersection SciPy finds.
"""

import functools
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.scripts import export_2d_annotations_as_json as export
from nuscenes.utils.geometry_utils import BoxVisibility
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.detection.box_filters import BoxFilters
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.town import generate_town

NEAR = 0.1
EVERY_VISIBILITY = ["", "1", "2", "3", "4"]
DEVKIT_EXPORT = export.post_process_coords


@dataclass
class Compared:
    """Largest differences in pixels, and what was compared, of one data set.

    Attributes:
        in_front: boxes in the image with all corners in front of the camera.
        crossing: boxes with corners on both sides of the near plane, seen or not.
        devkit_overlaps: of the crossing ones in the image, the devkit's box with the exact one.
    """

    in_front: int = 0
    devkit_difference: float = 0.0
    crossing: int = 0
    exact: int = 0
    exact_difference: float = 0.0
    devkit_overlaps: list[float] = field(default_factory=list)


def visible_box(box, intrinsics, width, height):
    """Exact bounds in the image of a devkit box given in the camera's frame; None for nothing."""
    axes = box.orientation.rotation_matrix.T
    half = box.wlh[[1, 0, 2]] / 2
    matrix = np.array(intrinsics)
    planes = [
        *(np.array([*axes[i], -axes[i] @ box.center - half[i]]) for i in range(3)),
        *(np.array([*-axes[i], axes[i] @ box.center - half[i]]) for i in range(3)),
        np.array([0, 0, -1, NEAR]),
        np.array([*-matrix[0], 0]),
        np.array([*-matrix[1], 0]),
        np.array([*matrix[0] - width * matrix[2], 0]),
        np.array([*matrix[1] - height * matrix[2], 0]),
    ]
    planes = np.stack([plane / np.linalg.norm(plane[:3]) for plane in planes])
    # The largest ball inside all of them: its centre is a point of the visible part.
    found = linprog(
        [0, 0, 0, -1],
        A_ub=np.column_stack([planes[:, :3], np.ones(len(planes))]),
        b_ub=-planes[:, 3],
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    if found.status != 0 or found.x[3] < 1e-9:
        return None
    points = HalfspaceIntersection(planes, found.x[:3]).intersections @ matrix.T
    pixels = points[:, :2] / points[:, 2:]
    return np.array([*pixels.min(axis=0), *pixels.max(axis=0)])


def overlap(one, two):
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    shared = np.prod(sides.clip(0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - shared)


@pytest.fixture
def devkit_boxes(monkeypatch):
    """The devkit's records of one frame by annotation: its own functions and their globals."""

    def records(nusc, token, visibilities=EVERY_VISIBILITY):
        data = nusc.get("sample_data", token)
        # The devkit takes every image to be 1600 x 900.
        sized = functools.partial(DEVKIT_EXPORT, imsize=(data["width"], data["height"]))
        monkeypatch.setattr(export, "post_process_coords", sized)
        monkeypatch.setattr(export, "nusc", nusc, raising=False)
        found = export.get_2d_boxes(token, visibilities)
        return {record["sample_annotation_token"]: record for record in found}

    return records


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    return generate_town(
        tmp_path_factory.mktemp("town") / "data",
        scenes=2,
        seconds=1.0,
        sweep_rate=2.0,
        image_size=(90, 160),
        workers=1,
    )


@pytest.fixture(params=["nuscenes-sample", "surround-clips", "town"])
def source(request, tmp_path):
    """A data set in nuScenes' format: our index of it, and the devkit's."""
    root = request.getfixturevalue("town" if request.param == "town" else "real_data")
    root = root if request.param == "town" else root / request.param
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    nusc = NuScenes("v1.0-mini", str(root), verbose=False)
    return SimpleNamespace(name=request.param, index=index, nusc=nusc)


def keyframes(index):
    return np.flatnonzero(index.frames.keyframe)


def our_boxes(index, row):
    found = frame_boxes(index, np.array([row]), keep_unlabelled=True)
    return {index.boxes.token[box]: number for number, box in enumerate(found.box)}, found


def compare(source, row, devkit, compared):
    """Compare one frame's boxes."""
    index, token = source.index, source.index.frames.token[row]
    size = int(index.frames.width[row]), int(index.frames.height[row])
    ours, found = our_boxes(index, row)
    _, boxes, intrinsics = source.nusc.get_sample_data(token, BoxVisibility.NONE)
    for number, box in enumerate(boxes):
        own = found.boxes[ours[box.token]] if box.token in ours else None
        theirs = devkit.get(box.token)
        depth = box.corners()[2]
        crossing = depth.min() <= NEAR < depth.max()
        compared.crossing += crossing
        if depth.min() > NEAR:
            assert (theirs is None) == (own is None), (token, box.token)
            if own is not None:
                difference = np.abs(own - theirs["bbox_corners"]).max()
                compared.devkit_difference = max(compared.devkit_difference, difference)
                compared.in_front += 1
        # The reference is slow: of the boxes that do not cross the near plane, some will do.
        if crossing or number % 10 == 0:
            exact = visible_box(box, intrinsics, *size)
            assert (exact is None) == (own is None), (token, box.token)
            if own is not None:
                difference = np.abs(own - exact).max()
                compared.exact_difference = max(compared.exact_difference, difference)
                compared.exact += 1
                if crossing:
                    compared.devkit_overlaps.append(
                        0.0 if theirs is None else overlap(exact, np.array(theirs["bbox_corners"]))
                    )


# At least so many boxes in front, across the near plane, and of these in the image. Of the 39 in
# the real frames that cross it none is in an image; some of the town's are.
AT_LEAST = {"nuscenes-sample": (85, 9, 0), "surround-clips": (214, 30, 0), "town": (50, 20, 1)}


def test_boxes_are_the_devkits_in_front_and_right_where_it_drops_corners(source, devkit_boxes):
    compared = Compared()
    for row in keyframes(source.index):
        devkit = devkit_boxes(source.nusc, source.index.frames.token[row])
        compare(source, row, devkit, compared)
    in_front, crossing, seen = AT_LEAST[source.name]
    assert compared.in_front >= in_front
    assert compared.devkit_difference < 1e-6
    assert compared.crossing >= crossing
    assert compared.exact > 0
    assert compared.exact_difference < 1e-6
    assert len(compared.devkit_overlaps) >= seen
    if seen:
        assert min(compared.devkit_overlaps) < 0.99


def test_categories_and_visibility_are_the_devkits(source, devkit_boxes):
    index, compared, left_out = source.index, 0, 0
    filters = BoxFilters(min_visibility=3)
    for row in keyframes(index):
        token = index.frames.token[row]
        every = devkit_boxes(source.nusc, token)
        ours, found = our_boxes(index, row)
        for name in set(ours) & set(every):
            number, record = ours[name], every[name]
            category = index.boxes.category[found.box[number]]
            assert index.categories[category] == record["category_name"]
            assert str(found.visibility[number]) == record["visibility_token"]
            assert found.lidar_points[number] == record["num_lidar_pts"]
            assert found.radar_points[number] == record["num_radar_pts"]
            compared += 1
        clear = devkit_boxes(source.nusc, token, ["3", "4"])
        ignored = np.any(list(filters.reasons(found).values()), axis=0)
        kept = {name for name, number in ours.items() if not ignored[number]}
        assert kept & set(every) == set(clear) & set(ours)
        left_out += len(set(every) - set(clear))
    assert compared > 50
    # All that the real frames show is seen well.
    assert (left_out > 0) == (source.name == "town")


CAMERA_HEIGHT, CAMERA_AHEAD = 1.5, 1.5


def with_one_object(tables, write, tmp_path, *, size, ahead, left, up=0.0):
    """The small data set with one object, metres from the front camera in the first frame.

    The camera looks straight ahead; unless the tables say otherwise, its image is 64 x 48 and its
    focal length 40.
    """
    row = next(r for r in tables["sample_annotation"] if r["token"] == "scene-0061-truck-0")
    row.update(
        size=size,
        rotation=[1.0, 0.0, 0.0, 0.0],
        translation=[ahead + CAMERA_AHEAD, left, CAMERA_HEIGHT + up],
    )
    tables["sample_annotation"] = [row]
    tables["instance"] = [r for r in tables["instance"] if r["token"] == "scene-0061-truck"]
    root = write(tables)
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    nusc = NuScenes("v1.0-mini", str(root), verbose=False)
    (row,) = index.frame_rows(["scene-0061-CAM_FRONT-0"])
    return SimpleNamespace(index=index, nusc=nusc, row=row, token=index.frames.token[row])


def test_a_bus_alongside_by_hand(tables, write, tmp_path, devkit_boxes):
    for row in tables["sample_data"]:
        row.update(width=1600, height=900)
    for row in tables["calibrated_sensor"]:
        row["camera_intrinsic"] = [[1250.0, 0, 800], [0, 1250.0, 450], [0, 0, 1]]
    # 12 m long, from 2 m behind the camera to 10 m ahead, its near side 2 m to the right. That
    # side leaves the image where 1250 * 2 / z = 800, which is 3.125 m ahead, and is higher than
    # the image there (1250 * 1.7 / 3.125 = 680 pixels above the middle and below).
    seen = with_one_object(
        tables, write, tmp_path, size=[2.5, 12.0, 3.4], ahead=4.0, left=-(2 + 1.25)
    )
    _, found = our_boxes(seen.index, seen.row)
    expected = [800 + 1250 * 2 / 10, 0, 1600, 900]
    np.testing.assert_allclose(found.boxes, [expected], atol=1e-9)
    # The devkit has the front face alone: 1250 * 1.7 / 10 above and below, 4.5 m to the right.
    (record,) = devkit_boxes(seen.nusc, seen.token).values()
    face = [1050, 450 - 212.5, 800 + 562.5, 450 + 212.5]
    np.testing.assert_allclose(record["bbox_corners"], face, atol=1e-9)
    # 312.5 * 425 of 550 * 900 pixels.
    assert overlap(np.array(expected), np.array(face)) == pytest.approx(0.268, abs=1e-3)


@pytest.mark.parametrize("up", [0.0, 6.5], ids=["in a line", "in a point"])
def test_a_hull_that_only_touches_the_image(tables, write, tmp_path, devkit_boxes, up):
    # The left side is 8 m to the right, the far side 10 m ahead: x = 32 + 40 * 8 / 10 = 64 is the
    # right border. Nearer parts are further right. 6.5 m up, its lower side is 6 m up, which at
    # 10 m is y = 24 - 40 * 6 / 10 = 0: it touches the image in its upper right corner alone.
    seen = with_one_object(
        tables, write, tmp_path, size=[2.0, 4.0, 1.0], ahead=8.0, left=-9.0, up=up
    )
    with pytest.raises(AttributeError, match="exterior"):
        devkit_boxes(seen.nusc, seen.token)
    ours, found = our_boxes(seen.index, seen.row)
    assert ours == {}
    assert found.boxes.shape == (0, 4)

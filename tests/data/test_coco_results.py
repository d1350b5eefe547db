"""Detection results as columns: by hand on the small data set, and invalid results."""

import json

import numpy as np
import pytest

from drivemim.data.boxes.coco_results import read_results
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 17, "name": "cat"}]


@pytest.fixture
def index(small_index):
    return FrameIndex.open(small_index)


@pytest.fixture
def write(tmp_path):
    """Writes a JSON file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def result(image=0, category=1, bbox=(1.0, 2.0, 30.0, 40.0), score=0.9):
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def listed(index, rows, **fields):
    """A COCO file's images for rows of the index, numbered from 500."""
    images = [
        {"id": 500 + place, "file_name": index.frames.path[row], **fields}
        for place, row in enumerate(rows)
    ]
    return {"images": images, "categories": CATEGORIES, "annotations": [{"id": "not even read"}]}


def test_by_file_name(index, write):
    images = write("images.json", listed(index, [4, 2], width=64, height=48))
    results = [
        result(500, 3, (0, 0, 10, 20), 0.8),
        result(501, 1, (1.5, 2, 3, 4), 0.5),
        result(501, 3, (5, 6, 7, 8), 0.49),
        result(500, 17, (0, 0, 9, 9), 0.9),
        result(500, 1, (7, 7, 0, 0), 0.6),
    ]
    table = read_results(write("results.json", results), index, images=images, min_score=0.5)
    assert table.row_D.tolist() == [2, 4, 4]
    assert table.label_D.tolist() == [0, 1, 0]
    assert table.boxes_D4.tolist() == [[1.5, 2, 4.5, 6], [0, 0, 10, 20], [7, 7, 7, 7]]


def test_ids_in_any_order(index, write):
    content = listed(index, [4, 2, 7])
    content["images"] = [content["images"][place] for place in (2, 0, 1)]
    content["categories"] = CATEGORIES[::-1]
    path = write("results.json", [result(500, 1), result(501, 3), result(502, 1)])
    table = read_results(path, index, images=write("images.json", content))
    assert table.row_D.tolist() == [2, 4, 7]
    assert table.label_D.tolist() == [1, 0, 0]


def test_frames_own_ids(index, write):
    """As written for ``FrameDetection``: rows of the index, positions in the classes."""
    path = write("results.json", [result(3, 1), result(0, 0)])
    table = read_results(path, index)
    assert table.row_D.tolist() == [0, 3]
    assert table.label_D.tolist() == [0, 1]


def test_absolute_names_and_images_of_other_data(index, write):
    content = listed(index, [1, 2, 3])
    content["images"][0]["file_name"] = str(index.data_root / index.frames.path[1])
    content["images"][1]["file_name"] = "./" + index.frames.path[2]
    content["images"][2]["file_name"] = "samples/elsewhere.jpg"
    path = write("results.json", [result(502), result(501), result(500)])
    table = read_results(path, index, images=write("images.json", content))
    assert table.row_D.tolist() == [1, 2]


@pytest.fixture
def cameras(put_images, tmp_path):
    """Two cameras whose files have the same names, and the detections in one of them."""
    put_images("data/cam0/1.jpg", "data/cam1/1.jpg", "data/cam1/2.jpg")
    path = build_frames_index([tmp_path / "data"], tmp_path / "index.arrow")
    return FrameIndex.open(path)


def found(index, results, images):
    return [index.frames.path[row] for row in read_results(results, index, images=images).row_D]


def test_images_are_those_beside_their_file(cameras, write, put_coco):
    results = write("results.json", [result(0, 4), result(1, 4)])
    beside = put_coco("data/cam1/images.json", ["1.jpg", "2.jpg"])
    assert found(cameras, results, beside) == ["cam1/1.jpg", "cam1/2.jpg"]
    from_root = put_coco("data/cam1/images.json", ["cam0/1.jpg", "cam1/2.jpg"])
    assert found(cameras, results, from_root) == ["cam0/1.jpg", "cam1/2.jpg"]


def test_images_are_found_through_links(cameras, write, put_coco, tmp_path):
    """The data root under another name, a link to an image, and an image that is a link."""
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "one.jpg").symlink_to(tmp_path / "data" / "cam1" / "1.jpg")
    results = write("results.json", [result(0, 4), result(1, 4)])
    names = [str(tmp_path / "link" / "cam0" / "1.jpg"), str(tmp_path / "one.jpg")]
    images = put_coco("images.json", names)
    assert found(cameras, results, images) == ["cam0/1.jpg", "cam1/1.jpg"]
    through = FrameIndex.open(cameras.path, data_root=tmp_path / "link")
    assert found(through, results, images) == ["cam0/1.jpg", "cam1/1.jpg"]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.jpg").symlink_to(tmp_path / "data" / "cam0" / "1.jpg")
    path = build_frames_index([tmp_path / "linked"], tmp_path / "linked.arrow")
    assert found(FrameIndex.open(path), results, images) == ["a.jpg"]


def test_an_image_under_two_names_is_refused(cameras, write, put_coco):
    results = write("results.json", [result(0, 4)])
    images = put_coco("data/images.json", ["cam1/1.jpg", "./cam0/../cam1/1.jpg"])
    with pytest.raises(ValueError, match=r"'cam1/1\.jpg' and '\./cam0.*' are the same image"):
        read_results(results, cameras, images=images)


def test_results_with_a_users_class_map(index, write):
    images = write("images.json", listed(index, [0]))
    path = write("results.json", [result(500, 1), result(500, 3), result(500, 17)])
    table = read_results(path, index, images=images, class_map={"cat": "vehicle", "car": None})
    assert table.label_D.tolist() == [0, 1]


def test_results_without_detections(index, write):
    table = read_results(write("results.json", []), index)
    assert table.row_D.shape == (0,)
    assert table.boxes_D4.shape == (0, 4)


def test_columns_are_small(index, write):
    """A million boxes, which every worker process gets, take 25 MB."""
    table = read_results(write("results.json", [result()] * 100), index)
    arrays = (table.row_D, table.boxes_D4, table.label_D)
    assert sum(array.nbytes for array in arrays) == 100 * 25
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "results.json is not a COCO results file: .*write it again"),
        ({"annotations": []}, "is not a COCO results file: Expected `array`, got `object`"),
        ([result(), result(bbox=[1, 2, 3])], r"is not a COCO results file: .*\$\[1\].bbox"),
        ([result(), result(bbox=[1, 2, -3, 4])], r"entry 1 has bbox \[1.0, 2.0, -3.0, 4.0\]"),
        ([result(image=99)], "entry 0 has image_id 99, .* has 30 frames; .*images="),
        ([result(), result(image=-1)], "entry 1 has image_id -1"),
        ([result(category=2)], r"entry 0 has category_id 2, none of \('pedestrian', 'vehicle'\)"),
    ],
)
def test_wrong_results(index, write, content, message):
    message = message.replace("30 frames", f"{len(index.frames)} frames")
    with pytest.raises(ValueError, match=message):
        read_results(write("results.json", content), index)


@pytest.mark.parametrize(
    ("change", "entry", "message"),
    [
        ({}, result(77), "entry 0 has image_id 77, not in .*images.json"),
        ({}, result(500, 5), "entry 0 has category_id 5, not in .*images.json"),
        ({"categories": CATEGORIES[2:]}, result(500, 17), r"none of its categories \(cat\)"),
        ({"images": [{"id": 500, "file_name": "b/a.jpg"}]}, result(500), "no image of .*'b/a.jpg'"),
        ({"images": 3}, result(500), "images.json is not a COCO file with images and categories"),
        (
            {"images": [{"id": 3, "file_name": name} for name in ("a.jpg", "b.jpg")]},
            result(3),
            "images.json has image id 3 more than once",
        ),
        (
            {"categories": [*CATEGORIES, {"id": 3, "name": "person"}]},
            result(500, 3),
            "images.json has category id 3 more than once",
        ),
    ],
)
def test_results_that_do_not_fit_their_images(index, write, change, entry, message):
    images = write("images.json", {**listed(index, [0]), **change})
    with pytest.raises(ValueError, match=message):
        read_results(write("results.json", [entry]), index, images=images)


def test_images_of_another_size(index, write):
    images = write("images.json", listed(index, [0], width=32, height=24))
    with pytest.raises(ValueError, match="is 32x24, but .* has 64x48; give boxes in the pixels"):
        read_results(write("results.json", []), index, images=images)


def test_missing_files(index, write, tmp_path):
    with pytest.raises(FileNotFoundError, match="no COCO results file at .*nowhere.json"):
        read_results(tmp_path / "nowhere.json", index)
    with pytest.raises(FileNotFoundError, match="no COCO file with images .*nowhere.json"):
        read_results(write("r.json", []), index, images=tmp_path / "nowhere.json")


def test_files_of_windows(index, write):
    """UTF-16, backslashes, and numbers as text."""
    content = listed(index, [4], width="64", height="48")
    content["images"][0]["file_name"] = content["images"][0]["file_name"].replace("/", "\\")
    images = write("images.json", content)
    results = write("results.json", [result("500", "3", ("0", 0, 10, 20.5), "0.8")])
    for path in (images, results):
        path.write_bytes(path.read_text().encode("utf-16"))
    table = read_results(results, index, images=images)
    assert (table.row_D.tolist(), table.boxes_D4.tolist()) == ([4], [[0, 0, 10, 20.5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([result(score=float("nan"))], r"is not a COCO results file: .*\$\[0\]\.score"),
        (
            [result(bbox=(1, float("inf"), 2, 3))],
            r"is not a COCO results file: .*\$\[0\]\.bbox\[1\]",
        ),
        ([result(), result(score="nan")], "entry 1 has a score that is not a number"),
        ([result(bbox=(1, 2, "inf", 3))], "entry 0 has a bbox that is not a number"),
        ([result(image=2**63)], r"is not a COCO results file: .*9223372036854775807.*image_id"),
        ('{"image_id": 1}\n{"image_id": 2}', "a JSON value on each line"),
    ],
)
def test_results_that_are_not_numbers(index, write, content, message):
    with pytest.raises(ValueError, match=message):
        read_results(write("results.json", content), index)


def test_results_of_own_classes(index, write):
    """Positions in these classes, or categories by name; many classes need more than a byte."""
    classes = ("bicycle", "truck", "car")
    path = write("results.json", [result(3, 2), result(0, 0)])
    assert read_results(path, index, classes=classes).label_D.tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"category_id 2, none of \('bicycle', 'truck'\)"):
        read_results(path, index, classes=classes[:2])
    many = tuple(f"class {number}" for number in range(300))
    path = write("results.json", [result(3, 299)])
    assert read_results(path, index, classes=many).label_D.tolist() == [299]
    content = {**listed(index, [2]), "categories": [{"id": 7, "name": "tram"}]}
    images = write("images.json", content)
    path = write("results.json", [result(500, 7)])
    table = read_results(path, index, images=images, classes=("car", "tram"))
    assert table.label_D.tolist() == [1]
    with pytest.raises(ValueError, match=r"\(tram\) is mapped to one of \('car',\); pass"):
        read_results(path, index, images=images, classes=("car",))

"""Boxes of COCO files in another format than x, y, width, height in pixels."""

import json

import pytest

from drivemim.data.index.builders.coco import read_coco


def _put(put_coco, boxes, width=40, height=30):
    image = {"file_name": "0.jpg", "width": width, "height": height}
    return put_coco("labels.json", [image], [{"bbox": box} for box in boxes])


def test_boxes_written_as_centres_are_refused(put_coco):
    """Read as x, y, width, height, three of 25 boxes reach out of the image; as centres, none."""
    boxes = [[35, 15, 10, 8]] * 3 + [[12, 12, 6, 6 + number / 10] for number in range(22)]
    message = (
        r"3 of 25 boxes reach out of their images, first in 0\.jpg; is bbox centre x, centre y, "
        r"width, height\? Read so, none does"
    )
    with pytest.raises(ValueError, match=message):
        read_coco(_put(put_coco, boxes))


def test_a_few_boxes_that_reach_out_are_a_warning_with_other_readings(put_coco, caplog):
    """As a centre, x = 0 would leave the left half of a box outside: centres fit no better."""
    boxes = [[35, 15, 10, 8]] * 3 + [[0, 12, 6, 6 + number / 10] for number in range(22)]
    read_coco(_put(put_coco, boxes))
    # As corners, x2 < x1 (10 < 35, 6 < 12). As centres, x - width / 2 = 0 - 3 is outside.
    assert (
        "3 of 25 boxes reach out of their images, first in 0.jpg; 25 would as x1, y1, x2, y2,"
        in (caplog.text)
    )
    assert ", and 22 would as centre x, centre y, width, height." in caplog.text
    caplog.clear()
    # 3 of 101 boxes are less than 3 %: a warning, no error.
    boxes = [[35, 15, 10, 8]] * 3 + [[12, 12, 6, 6 + number / 100] for number in range(98)]
    read_coco(_put(put_coco, boxes))
    assert ", and 0 would as centre x, centre y, width, height." in caplog.text


def test_boxes_of_images_twice_as_large_are_named(put_coco):
    """The images were reduced from 40 x 30 to 20 x 15 pixels, the boxes were not."""
    boxes = [[26, 10, 13, 8], [20, 18, 10, 9], [16, 2, 8, 5], [2, 2, 6, 6]]
    with pytest.raises(ValueError, match=r"3 of 4 boxes reach out.*All would fit divided by 2: if"):
        read_coco(_put(put_coco, boxes, 20, 15))
    # The boxes reach to 24 of 20 pixels, 1.2 times the width: as after a reduction by 1.25.
    boxes = [[19, 10, 5, 3], [18, 9, 5, 3], [18, 8, 5, 3]]
    with pytest.raises(ValueError, match=r"All would fit divided by 1\.25: if"):
        read_coco(_put(put_coco, boxes, 20, 15))
    # The boxes reach to 33 of 20 pixels, 1.65 times the width: no usual factor of reduction.
    with pytest.raises(ValueError, match=r"3 of 3 boxes .* width, height\. Give bbox as x, y, w"):
        read_coco(_put(put_coco, [[25, 10, 8, 3], [24, 9, 8, 3], [24, 8, 8, 3]], 20, 15))


@pytest.mark.parametrize("name", ["camvid/train", "camvid/val", "idd/train", "idd/val"])
def test_real_boxes_are_only_refused_as_centres(real_data, tmp_path, name, caplog):
    path = real_data / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no {name}.json")
    read_coco(path)
    assert caplog.text == ""
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x + width / 2, y + height / 2, width, height]
    written = tmp_path / "centres.json"
    written.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is bbox centre x, centre y, width, height"):
        read_coco(written)

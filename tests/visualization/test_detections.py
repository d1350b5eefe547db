import numpy as np

from drivemim.visualization.detections import IGNORED, TRUTH, draw_detections
from drivemim.visualization.panels import PEDESTRIAN, VEHICLE, track_color


def test_boxes_lie_on_their_pixels() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_detections(
        image,
        boxes_D4=np.array([[40.0, 20.0, 60.0, 50.0]]),
        labels_D=np.array([1]),
        scores_D=np.array([0.87]),
        truth_M4=np.array([[4.0, 30.0, 14.0, 50.0], [20.0, 30.0, 30.0, 50.0]]),
        ignored_M=np.array([False, True]),
    )
    assert (image == 0).all()
    for (x1, x2), color in (((4, 13), TRUTH), ((20, 29), IGNORED)):
        assert tuple(drawn[40, x1]) == tuple(drawn[40, x2]) == color
        assert (drawn[40, x1 + 1 : x2] == 0).all()
    assert tuple(drawn[35, 40]) == VEHICLE
    assert (drawn[26:48, 45:56] == 0).all()


def test_the_best_detection_is_drawn_on_top_and_none_is_valid() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    box = np.array([[5.0, 15.0, 30.0, 35.0]])
    none = np.zeros((0, 4))
    drawn = draw_detections(
        image, np.repeat(box, 2, 0), np.array([0, 1]), np.array([0.9, 0.4]), none, np.zeros(0, bool)
    )
    assert tuple(drawn[25, 5]) == PEDESTRIAN
    nothing = draw_detections(image, none, np.zeros(0, int), np.zeros(0), none, np.zeros(0, bool))
    assert (nothing == 0).all()


def test_scores_are_readable_on_bright_ground_and_at_every_border() -> None:
    """The score is black on a chip of the box's colour, wholly inside the image."""
    for corner in ([5.0, 30.0], [0.0, 0.0], [76.0, 30.0]):
        image = np.full((60, 80, 3), 255, np.uint8)
        box = np.array([[*corner, 80.0, 55.0]])
        none = np.zeros((0, 4))
        drawn = draw_detections(
            image, box, np.array([1]), np.array([0.87]), none, np.zeros(0, bool)
        )
        rows, columns = np.nonzero((drawn == 0).all(axis=2))
        assert len(rows) >= 10
        around = drawn[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2]
        assert (around != 255).any(axis=2).all()  # no pixel of the bright ground shines through


def draw(
    size: tuple[int, int], box: list[float], label: int, classes: list[str] | None
) -> np.ndarray:
    image = np.full((*size, 3), 255, np.uint8)
    none = np.zeros((0, 4))
    return draw_detections(
        image,
        np.array([box]),
        np.array([label]),
        np.array([0.87]),
        none,
        np.zeros(0, bool),
        classes,
    )


def test_classes_are_written_and_have_their_colors() -> None:
    """By name: a detector may number them in another order, or have others."""
    classes = ["car", "vehicle", "pedestrian"]
    box = [20.0, 60.0, 180.0, 110.0]
    for label, color in ((0, track_color(0)), (1, VEHICLE), (2, PEDESTRIAN)):
        drawn = draw((120, 200), box, label, classes)
        assert tuple(drawn[100, 20]) == color
        # Black on the chip, longer than that of the score alone.
        assert (drawn[40:60, 20:] == 0).all(axis=2).sum() > 10
        alone = draw((120, 200), box, label, None)
        assert (drawn[:59] != 255).sum() > (alone[:59] != 255).sum()


def test_descenders_stay_on_the_chip() -> None:
    drawn = draw((120, 200), [20.0, 60.0, 180.0, 110.0], 0, ["pyjgq"])
    rows, columns = np.nonzero((drawn == 0).all(axis=2))
    around = drawn[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2]
    assert (around != 255).any(axis=2).all()
    assert rows.max() < 60  # above the box


def test_large_images_have_thick_lines_and_large_scores() -> None:
    """At 1350 rows, three times those of 450: 6 pixels instead of 2."""
    widths, texts = [], []
    for rows in (100, 450, 1350):
        box = [200.0, 50.0, 400.0, 90.0]
        drawn = draw((rows, 2000), box, 1, None)
        widths.append(int((drawn[70, 150:300] != 255).any(axis=1).sum()))
        texts.append(int((drawn == 0).all(axis=2).sum()))
    assert widths[0] == widths[1]
    assert widths[2] >= 2 * widths[0]
    assert texts[0] == texts[1] < texts[2] / 4

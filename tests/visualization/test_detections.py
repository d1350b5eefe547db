import numpy as np

from drivemim.visualization.detections import IGNORED, TRUTH, draw_detections
from drivemim.visualization.panels import PEDESTRIAN, VEHICLE


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

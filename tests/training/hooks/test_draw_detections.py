from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from drivemim.errors import ConfigError
from drivemim.training.hooks import DrawDetections
from drivemim.visualization.panels import VEHICLE, track_color


def sample(path: Path, number: int) -> SimpleNamespace:
    return SimpleNamespace(
        img_path=str(path),
        frame_token=f"frame {number}",
        ori_shape=(40, 60),
        camera="CAM_FRONT",
        pred_instances=InstanceData(
            bboxes=torch.tensor([[10.0, 10.0, 30.0, 30.0], [35.0, 5.0, 55.0, 35.0]]),
            labels=torch.tensor([0, 1]),
            scores=torch.tensor([0.8, 0.2]),
        ),
        instances=[dict(bbox=[2.0, 2.0, 8.0, 8.0], bbox_label=0, ignore_flag=0)],
    )


def test_images_are_evenly_spaced_and_drawn_at_their_stored_size(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    hook = DrawDetections(folder=str(tmp_path / "shown"), count=3, min_score=0.3)
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=range(9), batch_size=2))
    hook.before_test(runner)
    for batch in range(5):
        numbers = [number for number in (2 * batch, 2 * batch + 1) if number < 9]
        hook.after_test_iter(runner, batch, None, [sample(path, each) for each in numbers])
    names = sorted(each.name for each in (tmp_path / "shown").iterdir())
    assert names == [f"{number:06d}_CAM_FRONT.jpg" for number in (0, 4, 8)]
    picture = cv2.imread(str(tmp_path / "shown" / names[1]))
    assert picture.shape == (40, 60, 3)
    assert picture[20, 10, 2] > 150  # the pedestrian's edge is red
    assert picture[2:8, 2].mean() > 150  # the annotated object's is white
    assert picture[10:30, 40:55].max() < 40  # a detection below the smallest score is left out


@pytest.mark.parametrize(
    ("ignored", "drawn"), [((0,), 1), ((0, 1), 1), ((0, 0), 2), ((1,), 0), ((), 0)]
)
def test_without_a_smallest_score_as_many_detections_as_objects_are_drawn(
    tmp_path: Path, ignored: tuple[int, ...], drawn: int
) -> None:
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    hook = DrawDetections(folder=str(tmp_path), count=1)
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=range(1), batch_size=1))
    hook.before_test(runner)
    image = sample(path, 0)
    image.instances = [dict(bbox=[2.0, 2.0, 8.0, 8.0], ignore_flag=flag) for flag in ignored]
    hook.after_test_iter(runner, 0, None, [image])
    picture = cv2.imread(str(tmp_path / "000000_CAM_FRONT.jpg"))
    # Left edges of the boxes: the box with score 0.8 is drawn first, then that with 0.2.
    assert (picture[20, 10, 2] > 150, picture[20, 35, 0] > 150) == (drawn > 0, drawn > 1)


def test_a_count_above_the_number_of_images_selects_all_images(tmp_path: Path) -> None:
    hook = DrawDetections(folder=str(tmp_path), count=50)
    hook.before_test(
        SimpleNamespace(test_dataloader=SimpleNamespace(dataset=range(3), batch_size=2))
    )
    assert hook._chosen == {0, 1, 2}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="count=0 must be at least 1"):
        DrawDetections(folder="x", count=0)
    with pytest.raises(ConfigError, match="min_score=3"):
        DrawDetections(folder="x", min_score=3)


def test_classes_other_than_the_default_ones_have_colours_of_their_own(tmp_path: Path) -> None:
    """Pedestrians are red and vehicles blue; a tram has the colour of class 1."""
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    drawn = []
    for classes in (("pedestrian", "vehicle"), ("pedestrian", "tram")):
        hook = DrawDetections(folder=str(tmp_path), count=1, min_score=0.0)
        dataset = type("Data", (), {"metainfo": {"classes": classes}, "__len__": lambda self: 1})()
        loader = SimpleNamespace(dataset=dataset, batch_size=1)
        hook.before_test(SimpleNamespace(test_dataloader=loader))
        hook.after_test_iter(SimpleNamespace(test_dataloader=loader), 0, None, [sample(path, 0)])
        drawn.append(cv2.imread(str(tmp_path / "000000_CAM_FRONT.jpg")).astype(int))
    default, own = drawn
    assert np.abs(default[20, 35] - VEHICLE).max() < 60
    assert np.abs(own[20, 35] - track_color(1)).max() < 60
    assert np.abs(own[20, 10] - default[20, 10]).max() < 60  # pedestrians are red in both

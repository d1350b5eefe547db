"""The line after an evaluation has the numbers of the whole data set, without slices."""

from mmengine.registry import LOG_PROCESSORS, init_default_scope
from mmengine.runner import LogProcessor


def test_the_logged_line_leaves_out_slices_but_the_returned_metrics_keep_them(monkeypatch):
    numbers = {"drivemim/mAP": 0.5, "drivemim/vehicle_AP[size 0-32 px]": 0.25}
    line = (
        "Iter(test) [26/26]    drivemim/mAP: 0.5000  drivemim/vehicle_AP[size 0-32 px]: 0.2500  "
        "drivemim/vehicle_AR[camera CAM_FRONT]: nan  drivemim/large vehicle_AP: 0.3  "
        "drivemim/large vehicle_AP[size 0-32 px]: 0.2  coco/bbox_mAP: 0.1  time: 0.6"
    )
    monkeypatch.setattr(LogProcessor, "get_log_after_epoch", lambda *_: (numbers, line))
    init_default_scope("mmdet")
    processor = LOG_PROCESSORS.build({"type": "drivemim.CompactLogProcessor", "by_epoch": False})
    found = processor.get_log_after_epoch(None, 26, "test")
    assert found == (
        numbers,
        "Iter(test) [26/26]    drivemim/mAP: 0.5000  drivemim/large vehicle_AP: 0.3  "
        "coco/bbox_mAP: 0.1  time: 0.6",
    )

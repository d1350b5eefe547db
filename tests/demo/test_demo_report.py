"""The demo's report, from the results of its steps."""

import base64

import cv2
import numpy as np
import pytest

from drivemim.evaluation.results_file import results_json
from drivemim.visualization import save_image
from town_demo.demo_plan import DemoSettings
from town_demo.demo_report import read_outcome, write_demo_report
from workflow.steps import Step, StepResult

SETTINGS = DemoSettings(pictures=1, finetune_iterations=77)
KEY = "drivemim/pedestrian_AP"
MISS_RATE = {"false_alarms_per_image": [0.01, 1.0], "miss_rate": [0.9, 0.5]}


def write_target(work_dir, target):
    """Write the part of a pretraining run's config that names its target."""
    config = work_dir / "pretrain" / "vit_micro_town.py"
    config.write_text(f"model = dict(target=dict(type='drivemim.{target}'))")


@pytest.fixture
def work_dir(tmp_path):
    for init, value in (("pretrained", 0.2504), ("random", 0.1996)):
        metrics = {
            KEY: value,
            "drivemim/mAP50": 2 * value,
            "drivemim/pedestrian_count": 12,
            "drivemim/vehicle_AP": float("nan"),
            f"{KEY}[distance 0-20 m]": 0.3,
            f"{KEY}[distance 40+ m]": float("nan"),
            "drivemim/pedestrian_count[distance 0-20 m]": 9,
            f"{KEY}[camera CAM_BACK]": 0.9,
            "drivemim/pedestrian_LAMR": 1 - value,
            "drivemim/vehicle_AP50[motion moving]": value,
        }
        curves = {"pedestrian": {"miss_rate": MISS_RATE}}
        (tmp_path / f"results-{init}.json").write_bytes(results_json(metrics, curves))
    for run in ("pretrain", "finetune-pretrained", "finetune-random"):
        folder = tmp_path / run / "20260101_000000" / "vis_data"
        folder.mkdir(parents=True)
        (folder / "scalars.json").write_text('{"loss": 2.0, "step": 1}\n{"loss": 1.0, "step": 2}\n')
    write_target(tmp_path, "NormalizedPixels")
    for kind in ("clip", "reconstruction"):
        save_image(tmp_path / "pictures" / f"{kind}-0.jpg", np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def cells(page, first):
    """Cells of the table row whose first cell is given."""
    row = next(row for row in page.split("<tr>") if row.startswith(f"<td>{first}</td>"))
    return row.split("</tr>")[0].replace("<td>", "").split("</td>")[:-1]


def test_numbers_times_and_commands(work_dir):
    step = Step(name="a", title="Do it", command=("tools/x.py", "--y", "a b"))
    path = write_demo_report(SETTINGS, [StepResult(step, 61.4, True)], work_dir)
    assert path == work_dir / "report.html"
    page = path.read_text()
    assert cells(page, "pedestrian") == ["pedestrian", "25.0", "20.0", "+5.0", "12"]
    assert cells(page, "vehicle") == ["vehicle", "-", "-", "-", "-"]
    near = cells(page, "pedestrian, 0-20 m")
    assert near == ["pedestrian, 0-20 m", "30.0", "30.0", "+0.0", "9"]
    assert cells(page, "pedestrian, 40+ m")[1:4] == ["-", "-", "-"]
    assert "CAM_BACK" not in page
    missed = cells(page, "pedestrian, log-average miss rate")
    assert missed[1:] == ["75.0", "80.0", "-5.0"]
    assert cells(page, "vehicle, calibration error")[1:] == ["-", "-", "-"]
    assert cells(page, "Do it") == ["Do it", "61 s, in an earlier run"]
    assert "python tools/x.py --y &#x27;a b&#x27;" in page
    assert "finetune_iterations = 77" in page
    sentence = (
        "The detector from the pretrained backbone was better than from random initialisation: "
        "mAP50 50.1 % against 39.9 % (+10.2 points)."
    )
    assert sentence in page


def test_both_initialisations_are_in_the_charts_of_failures(work_dir):
    page = write_demo_report(SETTINGS, [], work_dir).read_text()
    failures = page.split("<h2>Errors of the detectors</h2>")[1].split("</section>")[0]
    assert failures.count("<svg") == 5
    miss_rates = failures.split("<svg")[2]
    for text in ("false positives per image", "from the pretrained backbone", "from random"):
        assert text in miss_rates
    assert "motion moving" in failures.split("<svg")[5]


@pytest.mark.parametrize(("pretrained", "random", "words", "gain"), [
    (0.095, 0.146, "was worse than", "mAP50 9.5 % against 14.6 % (-5.1 points)"),
    (0.2, 0.2, "was as good as", "mAP50 20.0 % against 20.0 % (+0.0 points)"),
    (float("nan"), 0.2, "cannot be compared", "mAP50 - % against 20.0 %"),
])  # fmt: skip
def test_the_outcome_names_the_better_initialisation(tmp_path, pretrained, random, words, gain):
    for init, value in (("pretrained", pretrained), ("random", random)):
        (tmp_path / f"results-{init}.json").write_bytes(results_json({"drivemim/mAP50": value}, {}))
    outcome = read_outcome(tmp_path)
    assert words in outcome.sentence
    assert gain in outcome.sentence
    assert (outcome.gain > 0) is False


def test_both_detectors_are_shown_on_the_same_image(work_dir):
    for init, grey in (("pretrained", 250), ("random", 5)):
        save_image(
            work_dir / f"detections-{init}" / "000007_CAM_BACK.jpg",
            np.full((16, 24, 3), grey, np.uint8),
        )
    page = write_demo_report(SETTINGS, [], work_dir).read_text()
    shown = page.split("<h2>Detections</h2>")[1].split("</section>")[0]
    assert shown.count("data:image/") == 1
    data = shown.split("base64,")[1].split('"')[0]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (32, 24, 3)
    assert image[:16].mean() > 245
    assert image[16:].mean() < 10


@pytest.mark.parametrize(("target", "words"), [
    ("NormalizedPixels", "reconstruction (each hidden patch with its true mean and contrast);"),
    ("OrientedGradients", "reconstruction (strokes along the predicted edges, on mid grey);"),
])  # fmt: skip
def test_targets_describe_their_reconstructions(work_dir, target, words):
    write_target(work_dir, target)
    assert words in write_demo_report(SETTINGS, [], work_dir).read_text()

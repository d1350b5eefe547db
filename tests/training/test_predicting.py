"""``drivemim predict``: pictures, ``predictions.json`` and errors, in this process."""

import json
import sys

import cv2
import numpy as np
import pytest
from color_images import BLUE_BOX, RED_BOX, color_image, write_checkpoint, write_image
from video_files import write_video

import drivemim
from drivemim.cli import main
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.videos import decode_video, frame_rate
from drivemim.errors import ConfigError
from drivemim.visualization.panels import PEDESTRIAN, VEHICLE


@pytest.fixture
def config(repository):
    return repository / "tests" / "toys" / "configs" / "color_detector.py"


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "run").mkdir()
    return write_checkpoint(tmp_path / "run" / "iter_2.pth")


@pytest.fixture
def command(config, checkpoint, monkeypatch, capsys):
    """Return a function that runs ``drivemim predict`` and returns its last line or its error."""

    def command(*arguments, config=config, checkpoint=checkpoint):
        values = ["drivemim", "predict", config, checkpoint, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, values)))
        try:
            main()
        except SystemExit as ended:
            if isinstance(ended.code, str):
                return ended.code
        printed = capsys.readouterr()
        return printed.out.strip().splitlines()[-1]

    return command


def read(out):
    return json.loads((out / "predictions.json").read_text())


def files(folder):
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.*"))


def test_an_image_is_drawn_beside_the_checkpoint(command, config, checkpoint, tmp_path):
    path = write_image(tmp_path / "images" / "wide.png")
    out = checkpoint.parent / "predict-wide"
    assert command(path) == f"2 detections in 1 images: {out}"
    found = read(out)
    assert found.pop("images") == [
        {
            "path": str(path),
            "width": 400,
            "height": 200,
            "picture": "wide.png.jpg",
            "detections": [
                {"class": "pedestrian", "score": 0.9, "box": RED_BOX},
                {"class": "vehicle", "score": 0.4, "box": BLUE_BOX},
            ],
        }
    ]
    assert found == {
        "config": str(config),
        "checkpoint": str(checkpoint),
        "source": str(path),
        "absolute_source": str(path),
        "score_threshold": 0.3,
        "classes": ["pedestrian", "vehicle"],
        "skipped": 0,
    }
    assert files(out) == ["predictions.json", "wide.png.jpg"]


def test_pictures_have_the_colors_of_the_image_and_boxes_on_their_edges(command, tmp_path):
    path = write_image(tmp_path / "images" / "wide.png")
    command(path, "--out", tmp_path / "shown")
    drawn = cv2.imread(str(tmp_path / "shown" / "wide.png.jpg"))
    source = color_image()
    assert drawn.shape == source.shape
    # Inside the boxes and far from them, the picture is the image.
    for rows, columns in ((slice(50, 110), slice(90, 150)), (slice(120, 190), slice(260, 390)),
                          (slice(130, 190), slice(10, 200))):  # fmt: skip
        np.testing.assert_allclose(drawn[rows, columns], source[rows, columns], atol=30)
        np.testing.assert_allclose(
            drawn[rows, columns].mean(axis=(0, 1)), source[rows, columns].mean(axis=(0, 1)), atol=4
        )
    # The left edges are two pixels wide; JPEG mixes their colours with those of the neighbours.
    assert np.abs(drawn[60:110, 79:82].astype(int) - PEDESTRIAN).sum(axis=2).min(1).max() < 90
    assert np.abs(drawn[120:190, 239:242].astype(int) - VEHICLE).sum(axis=2).min(1).max() < 120


def test_a_folder_keeps_its_tree_and_a_run_takes_its_newest_checkpoint(
    command, checkpoint, tmp_path
):
    for name in ("a/0.jpg", "a/1.jpg", "b/0.png"):
        write_image(tmp_path / "drive.1" / name)
    write_image(tmp_path / "drive.1" / "c.jpg", np.full((200, 400, 3), 90, np.uint8))
    said = command(tmp_path / "drive.1", checkpoint=checkpoint.parent)
    out = checkpoint.parent / "predict-drive.1"
    assert said == f"6 detections in 4 images: {out}"
    assert files(out) == ["a/0.jpg", "a/1.jpg", "b/0.png.jpg", "c.jpg", "predictions.json"]
    assert read(out)["checkpoint"] == str(checkpoint)
    assert [(each["picture"], len(each["detections"])) for each in read(out)["images"]] == [
        ("c.jpg", 0), ("a/0.jpg", 2), ("a/1.jpg", 2), ("b/0.png.jpg", 2),
    ]  # fmt: skip


def test_predictions_of_another_source_of_the_same_name_stay(
    command, checkpoint, tmp_path, monkeypatch
):
    for place, names in (("one", ("0.jpg", "1.jpg")), ("two", ("z.jpg",))):
        for name in names:
            write_image(tmp_path / place / "front" / name)
    first = checkpoint.parent / "predict-front"
    second = checkpoint.parent / "predict-front-2"
    monkeypatch.chdir(tmp_path / "one")
    assert command("front").endswith(f": {first}")
    monkeypatch.chdir(tmp_path / "two")  # here, the same relative path names another folder
    assert command("front").endswith(f": {second}")
    assert files(first) == ["0.jpg", "1.jpg", "predictions.json"]
    assert files(second) == ["predictions.json", "z.jpg"]
    assert command("front").endswith(f": {second}")
    assert command(tmp_path / "one" / "front", "--max-images", 1).endswith(f": {first}")
    assert files(first) == ["0.jpg", "predictions.json"]


def test_folders_of_replaced_pictures_are_removed(command, tmp_path):
    for name in ("one/a/b/0.jpg", "two/1.jpg"):
        write_image(tmp_path / name)
    for source in ("one", "two"):
        command(tmp_path / source, "--out", tmp_path / "shown")
    assert sorted(each.name for each in (tmp_path / "shown").iterdir()) == [
        "1.jpg", "predictions.json",
    ]  # fmt: skip


def test_a_second_prediction_replaces_the_pictures_of_the_first_and_says_so(
    command, tmp_path, monkeypatch
):
    lines = []
    monkeypatch.setattr("drivemim.training.predicting.print_log", lines.append)
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        write_image(tmp_path / "images" / name)
    out = tmp_path / "shown"
    command(tmp_path / "images", "--out", out)
    assert lines == []
    (out / "notes.txt").write_text("mine")
    said = command(tmp_path / "images", "--out", out, "--max-images", 1, "--score-threshold", "0.5")
    assert said == f"1 detections in 1 images: {out}"
    assert lines == [
        f"{out} has the predictions of {tmp_path / 'images'}, which are replaced"
    ]  # fmt: skip
    assert files(out) == ["0.jpg", "notes.txt", "predictions.json"]
    assert [each["class"] for each in read(out)["images"][0]["detections"]] == ["pedestrian"]


def test_only_pictures_in_the_folder_are_replaced(command, tmp_path):
    path, kept = write_image(tmp_path / "images" / "0.jpg"), write_image(tmp_path / "kept.jpg")
    out = tmp_path / "shown"
    out.mkdir()
    entries = [{"picture": "../kept.jpg"}, {"picture": str(kept)}, {"picture": "gone.jpg"}]
    content = json.dumps({"score_threshold": 0.3, "images": entries})
    (out / "predictions.json").write_text(content)
    command(path, "--out", out)
    assert kept.is_file()


@pytest.mark.parametrize("content", ['[{"image_id": 1}]', '{"images": []}', "[not JSON", ""])
def test_results_of_other_programs_are_not_replaced(command, checkpoint, tmp_path, content):
    path, out = write_image(tmp_path / "images" / "0.jpg"), tmp_path / "shown"
    out.mkdir()
    (out / "predictions.json").write_text(content)
    said = command(path, "--out", out)
    assert said == (
        f"ConfigError: {out / 'predictions.json'} is not of drivemim predict, and would be "
        "replaced; name another --out"
    )
    assert everything(out) == {out / "predictions.json": content.encode()}
    default = checkpoint.parent / "predict-0"
    out.rename(default)
    assert command(path) == f"2 detections in 1 images: {default}-2"
    assert everything(default) == {default / "predictions.json": content.encode()}


def test_no_file_or_folder_of_the_user_is_replaced_by_a_picture(command, tmp_path, monkeypatch):
    for name in ("a/0.jpg", "b/1.jpg"):
        write_image(tmp_path / "images" / name)
    write_video(tmp_path / "images" / "c" / "2.mp4", [0, 50], codec="mp4v")
    index = build_frames_index([tmp_path / "images" / "b"], tmp_path / "frames.arrow")
    own = "is not of an earlier prediction, and would be replaced by a picture"
    for source, mine, said in (
        (tmp_path / "images", "b/1.jpg", own),
        (tmp_path / "images", "c/2.mp4", own),
        (index, "000000_camera.jpg", own),
        (tmp_path / "images", "b/1.jpg/notes.txt", "is a folder, but a picture has its name"),
        (tmp_path / "images", "b", "is a file, but a folder of pictures has its name"),
    ):
        out = tmp_path / "shown" / mine.replace("/", "-")
        (out / mine).parent.mkdir(parents=True)
        (out / mine).write_text("mine")
        with monkeypatch.context() as patched:  # nothing is detected before the refusal
            patched.setattr("drivemim.training.predicting._detect", lambda *given: 1 / 0)
            ended = command(source, "--out", out)
        named = out / mine.removesuffix("/notes.txt")
        assert ended == f"ConfigError: {named} {said}; name another --out"
        assert everything(out) == {out / mine: b"mine"}


def test_a_video_becomes_a_video(command, tmp_path):
    video = tmp_path / "drives" / "drive.avi"
    video.parent.mkdir()
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (400, 200))
    for shift in range(0, 50, 10):
        red = [80 + shift, 40, 160 + shift, 120]
        writer.write(color_image(red, None))
    writer.release()
    out = tmp_path / "shown"
    assert command(video, "--out", out, "--every", 2) == f"3 detections in 3 images: {out}"
    assert files(out) == ["drive.avi.mp4", "predictions.json"]
    entries = read(out)["images"]
    assert [(each["frame"], each["time"]) for each in entries] == [(0, 0), (2, 0.2), (4, 0.4)]
    assert {each["path"] for each in entries} == {str(video)}
    for each, shift in zip(entries, (0, 20, 40), strict=True):
        # The detector's input has a quarter of the video's width: boxes are exact to four pixels.
        (found,) = each["detections"]
        wanted = [80 + shift, 40, 160 + shift, 120]
        np.testing.assert_allclose(found["box"], wanted, atol=4)
    drawn = out / "drive.avi.mp4"
    assert frame_rate(drawn) == pytest.approx(5)
    images = [each.image for each in decode_video(drawn)]
    assert [each.shape for each in images] == [(200, 400, 3)] * 3
    for image, shift in zip(images, (0, 20, 40), strict=True):
        np.testing.assert_allclose(image[80, 120 + shift], [0, 0, 255], atol=40)
        np.testing.assert_allclose(image[180, 20], 90, atol=12)


def test_frames_of_an_index_have_their_tokens(command, tmp_path):
    for scene in ("a", "b"):
        write_image(tmp_path / "data" / scene / "0.jpg")
    index = build_frames_index([tmp_path / "data"], tmp_path / "frames.arrow")
    opened = drivemim.open_index(index)
    out = tmp_path / "shown"
    said = command(index, "--scenes", "b", "--cameras", "camera", "--out", out)
    assert said == f"2 detections in 1 images: {out}"
    (entry,) = read(out)["images"]
    assert entry["frame_token"] == opened.frames.token[1]
    assert (entry["scene"], entry["camera"]) == ("b", "camera")
    assert entry["path"] == str(tmp_path / "data" / "b" / "0.jpg")
    assert files(out) == ["000001_camera.jpg", "predictions.json"]


def test_unreadable_images_stop_or_are_skipped_when_asked(command, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "shown"
    good = write_image(folder / "0.jpg")
    (folder / "1.jpg").write_bytes(b"")
    (folder / "2.jpg").write_bytes(good.read_bytes()[:-900])
    said = command(folder, "--out", out)
    assert said.startswith(f"DataError: {folder / '1.jpg'} is not a readable image")
    assert not out.exists()
    said = command(folder, "--out", out, "--skip-unreadable")
    assert said == f"2 detections in 1 images, 2 files skipped: {out}"
    assert read(out)["skipped"] == 2
    good.unlink()
    assert command(folder, "--out", tmp_path / "none", "--skip-unreadable") == (
        f"DataError: {folder}: none of its images can be read"
    )


def test_an_image_that_the_pipeline_cannot_resize_is_unreadable(command, tmp_path):
    """Resized to a height of 100 pixels, its width would be 0.25 pixels."""
    folder, out = tmp_path / "images", tmp_path / "shown"
    narrow = write_image(folder / "0.png", np.zeros((400, 1, 3), np.uint8))
    write_image(folder / "1.png")
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "camera", "instances")
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (160, 100), "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": keys},
    ]
    pipeline = f"test_dataloader.dataset.pipeline={steps}"
    said = command(folder, "--out", out, "--cfg-options", pipeline)
    assert said.startswith(
        f"DataError: {narrow}: the config's test pipeline cannot prepare an image of 1x400 pixels "
    )
    assert said.endswith("--skip-unreadable leaves such files out")
    assert "\n" not in said
    assert not out.exists()
    said = command(folder, "--out", out, "--skip-unreadable", "--cfg-options", pipeline)
    assert said == f"2 detections in 1 images, 1 files skipped: {out}"


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_prediction_that_fails_leaves_the_earlier_one(command, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "shown"
    for name in ("a/0.jpg", "a/1.jpg", "a/2.jpg"):
        write_image(folder / name)
    command(folder, "--out", out)
    before = everything(out)
    write_image(folder / "a" / "0.jpg", color_image(None, None))
    (folder / "a" / "1.jpg").write_bytes((folder / "a" / "2.jpg").read_bytes()[:-900])
    assert "truncated" in command(folder, "--out", out)
    assert everything(out) == before
    assert sorted(path.name for path in out.iterdir()) == ["a", "predictions.json"]
    (out / "predictions.json").unlink()
    (out / "predictions.json").mkdir()
    said = command(folder, "--out", out, "--skip-unreadable")
    assert said.startswith(f"IsADirectoryError: {out / 'predictions.json'} is a folder")


def test_images_of_an_index_are_not_removed(command, tmp_path):
    """The images of this index are pictures of an earlier prediction."""
    out = tmp_path / "shown"
    command(write_image(tmp_path / "images" / "0.jpg"), "--out", out)
    index = build_frames_index([out], tmp_path / "frames.arrow")
    command(index, "--out", out)
    assert files(out) == ["0.jpg", "000000_camera.jpg", "predictions.json"]


def test_mistakes_are_one_line_and_leave_nothing(command, checkpoint, tmp_path):
    path = write_image(tmp_path / "images" / "0.jpg")
    (tmp_path / "empty").mkdir()
    cases = [
        ((path, "--score-threshold", "1.5"), {}, "--score-threshold 1.5 must be in [0, 1]"),
        ((tmp_path / "no.jpg",), {}, "there is no image, folder, video or index at"),
        ((tmp_path / "empty",), {}, "no images (.jpg, .jpeg, .png, .bmp, .webp) or videos"),
        ((path,), {"config": "vit_micro_town"}, "is a pretraining config, whose model finds no"),
        ((path,), {"config": "fcos3d_vit_base_nuscenes"}, "is a 3-D detector"),
        ((path,), {"checkpoint": tmp_path / "no.pth"}, "there is no checkpoint at"),
        ((path,), {"checkpoint": tmp_path / "empty"}, "without a complete checkpoint"),
        ((path,), {"config": "atss_vit_micro_town"}, "is of another model than the config's ATSS"),
        ((path, "--device", "cuda:99"), {}, "--device cuda:99 cannot be used here"),
        ((path, "--cfg-options", "modle.num_classes=2"), {}, "did you mean 'model'"),
        ((path, "--cfg-options", "val_dataloader.batch_size=2"), {}, "set test_dataloader.batch"),
        ((path, "--cameras", "CAM_FRONT"), {}, "--cameras selects frames of an index, but"),
        ((path, "--out", path.parent), {}, "is in the folder of the images"),
        ((path, "--out", path), {}, "0.jpg is a file; name a folder to write to"),
    ]
    before = files(tmp_path)
    for arguments, changed, said in cases:
        ended = command(*arguments, **changed)
        assert said in ended
        assert ended.partition(":")[0].endswith("Error")
        assert "\n" not in ended
    assert files(tmp_path) == before
    assert sorted(each.name for each in checkpoint.parent.iterdir()) == ["iter_2.pth"]


def test_in_python_options_are_arguments(config, checkpoint, tmp_path):
    path = write_image(tmp_path / "images" / "0.jpg")
    run = drivemim.predict(config, checkpoint, path, out=tmp_path / "shown", device="cpu")
    assert run.out == tmp_path / "shown"
    assert run.skipped == 0
    assert list(run.images) == read(run.out)["images"]
    with pytest.raises(ConfigError, match=r"^score_threshold=2 must be in \[0, 1\]"):
        drivemim.predict(config, checkpoint, path, score_threshold=2)
    with pytest.raises(ConfigError, match="^scenes selects frames of an index"):
        drivemim.predict(config, checkpoint, path, scenes="train")


def test_a_long_prediction_logs_its_progress(config, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("drivemim.training.predicting._LOG_INTERVAL", 2)
    write_video(tmp_path / "drive.avi", [0] * 5)
    drivemim.predict(config, checkpoint, tmp_path / "drive.avi", out=tmp_path / "shown")
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" images")]
    assert said == ["2 images", "4 images"]


def test_real_frames_keep_their_colors(config, checkpoint, real_data, tmp_path):
    """Without detections, the picture of a frame is the frame itself."""
    (folder,) = [each for each in (real_data / "frames").iterdir() if each.name == "kitti_front"]
    run = drivemim.predict(config, checkpoint, folder, out=tmp_path, every=20, score_threshold=1.0)
    assert len(run.images) > 1
    for entry in run.images:
        frame, drawn = (
            cv2.imread(str(each)) for each in (entry["path"], tmp_path / entry["picture"])
        )
        assert (entry["height"], entry["width"]) == frame.shape[:2]
        assert np.abs(drawn.astype(int) - frame).mean() < 4
        wrong = np.abs(drawn[..., ::-1].astype(int) - frame).mean()
        assert wrong > 4

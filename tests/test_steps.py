"""Steps are logged, skipped when completed, repeated after changes, and their errors are shown."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow.step_process import StepFailedError, parse_progress
from workflow.steps import Step, completed_steps, run_plan, seconds_of_completed

SCRIPT = """
import pathlib, sys
out = pathlib.Path(sys.argv[1])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(out.read_text() + "again" if out.exists() else "once")
print("wrote", out, *sys.argv[2:])
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "write.py").write_text(SCRIPT)
    (tmp_path / "fail.py").write_text("print('so far'); raise SystemExit('no such thing as x')")
    (tmp_path / "source.py").write_text("1")
    return tmp_path


WORK = Path("work")


def step(name, *extra, writes=None, **changes):
    out = writes or WORK / name / "out.txt"
    made = Step(
        name=name,
        title=f"Step {name}",
        command=("write.py", str(out), *extra),
        reads=("source.py",),
        writes=(out,),
    )
    return dataclasses.replace(made, **changes)


def run(folder, *groups, **options):
    lines = []
    results = run_plan(list(groups), WORK, repository=folder, log=lines.append, **options)
    return [done.step.name for done in results if not done.skipped], lines


def test_runs_in_order_and_keeps_logs(folder):
    ran, lines = run(folder, (step("a"),), (step("b"), step("c", "--x=1 2")))
    assert ran == ["a", "b", "c"]
    assert (folder / "work/a/out.txt").read_text() == "once"
    log = (folder / "work/logs/c.log").read_text()
    assert log == "$ python write.py work/c/out.txt '--x=1 2'\nwrote work/c/out.txt --x=1 2\n"
    assert lines[0] == "[1/3] Step a"
    assert "[3/3] Step c" in lines


def test_completed_steps_are_skipped(folder):
    plan = ((step("a"),), (step("b"), step("c")))
    run(folder, *plan)
    ran, lines = run(folder, *plan)
    assert ran == []
    assert lines == [
        f"[{i}/3] Step {name}: done earlier" for i, name in ((1, "a"), (2, "b"), (3, "c"))
    ]
    assert (folder / "work/a/out.txt").read_text() == "once"


def test_a_changed_command_repeats_the_step_and_the_next_ones(folder):
    run(folder, (step("a"),), (step("b"),), (step("c"),))
    ran, _ = run(folder, (step("a"),), (step("b", "--new"),), (step("c"),))
    assert ran == ["b", "c"]
    # The output of the earlier run was removed first, else it would be "onceagain".
    assert (folder / "work/c/out.txt").read_text() == "once"


def test_a_changed_source_repeats_the_step(folder):
    run(folder, (step("a"),))
    (folder / "source.py").write_text("2")
    assert run(folder, (step("a"),))[0] == ["a"]


def test_a_missing_result_repeats_the_step(folder):
    run(folder, (step("a"),))
    (folder / "work/a/out.txt").unlink()
    assert run(folder, (step("a"),))[0] == ["a"]


def test_fresh_repeats_every_step(folder):
    run(folder, (step("a"),), (step("b"),))
    assert run(folder, (step("a"),), (step("b"),), fresh=True)[0] == ["a", "b"]
    assert (folder / "work/a/out.txt").read_text() == "once"


def test_an_interrupted_step_keeps_its_partial_output(folder):
    interrupted = step("a", command=("fail.py",))
    with pytest.raises(StepFailedError):
        run(folder, (interrupted,))
    left = folder / "work/a/out.txt"
    left.parent.mkdir()
    left.write_text("half ")
    (folder / "fail.py").write_text(SCRIPT.replace("sys.argv[1]", "'work/a/out.txt'"))
    assert run(folder, (interrupted,))[0] == ["a"]
    assert left.read_text() == "half again"


def test_a_step_whose_command_outlived_a_killed_plan_is_not_started_twice(folder):
    (folder / "slow.py").write_text("import os, time; print(os.getpid()); time.sleep(60)")
    (folder / "plan.py").write_text(f"""
from pathlib import Path
from workflow.steps import Step, run_plan
step = Step(name="a", title="A", command=("slow.py",), writes=(Path("work/a"),))
run_plan([(step,)], Path("work"), repository=Path({str(folder)!r}))
""")
    log = folder / "work" / "logs" / "a.log"
    tools = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, folder / "plan.py"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=tools) as plan:
        give_up = time.monotonic() + 60
        while not (log.is_file() and re.search(r"^\d+$", log.read_text(), re.MULTILINE)):
            assert time.monotonic() < give_up
            time.sleep(0.1)
        plan.kill()
    try:
        with pytest.raises(StepFailedError, match="a is already running in another process"):
            run(folder, (step("a"),))
    finally:
        os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)
    give_up = time.monotonic() + 10
    ran = None
    while ran is None and time.monotonic() < give_up:
        with contextlib.suppress(StepFailedError):
            ran = run(folder, (step("a"),))[0]
        time.sleep(0.1)
    assert ran == ["a"]


def test_files_of_others_are_never_removed(folder):
    other = folder / "work/a/precious.txt"
    other.parent.mkdir(parents=True)
    other.write_text("x")
    run(folder, (step("a"),))
    assert other.read_text() == "x"


def test_a_stale_step_removes_its_own_result_and_not_its_neighbours(folder):
    one, two = (step(name, writes=WORK / "runs" / f"{name}.txt") for name in "ab")
    run(folder, (one, two), independent=True)
    changed = dataclasses.replace(one, command=(*one.command, "--new"))
    assert run(folder, (changed, two), independent=True)[0] == ["a"]
    assert (folder / "work/runs/a.txt").read_text() == "once"
    assert (folder / "work/runs/b.txt").read_text() == "once"


def test_a_stale_steps_own_folder_goes_as_a_whole(folder):
    one, two = (step(name, writes=WORK / "runs" / name / "last.txt") for name in "ab")
    one = dataclasses.replace(one, folder=WORK / "runs" / "a")
    run(folder, (one, two), independent=True)
    for name in "ab":
        (folder / "work/runs" / name / "earlier.txt").write_text("what a resumed run would take up")
    assert run(folder, (one, two), independent=True, fresh=True)[0] == ["a", "b"]
    left = sorted(str(path.relative_to(folder / "work/runs")) for path in folder.rglob("*/?/*.txt"))
    assert left == ["a/last.txt", "b/earlier.txt", "b/last.txt"]


def test_failure_names_step_log_and_command_and_later_steps_do_not_run(folder):
    with pytest.raises(StepFailedError) as caught:
        run(folder, (step("a", command=("fail.py",)),), (step("b"),))
    message = str(caught.value)
    for part in ("a failed with exit code 1", "so far", "no such thing as x", "work/logs/a.log"):
        assert part in message
    assert not (folder / "work/b").exists()


def test_failure_ends_the_other_steps_of_the_group(folder):
    (folder / "sleep.py").write_text("import time; time.sleep(600)")
    with pytest.raises(StepFailedError, match="b failed"):
        run(folder, (step("a", command=("sleep.py",)), step("b", command=("fail.py",))))


def test_seconds_of_interrupted_runs_are_added(folder):
    """The step fails after 0.4 s, and then takes 0.4 s: both count. A fresh run starts at zero."""
    (folder / "slow.py").write_text(
        "import pathlib, sys, time; time.sleep(0.4); "
        "sys.exit(0 if pathlib.Path('ready').exists() else 1)"
    )
    slow = Step(name="a", title="A", command=("slow.py",))
    with pytest.raises(StepFailedError):
        run(folder, (slow,), independent=True)
    stamp = folder / "work" / "stamps" / "a.json"
    first = json.loads(stamp.read_text())
    assert first["seconds"] >= 0.4
    assert not first["finished"]
    assert seconds_of_completed(["a", "b"], WORK, repository=folder) == {}
    (folder / "ready").touch()
    (result,) = run_plan([(slow,)], WORK, repository=folder, independent=True)
    assert result.seconds >= first["seconds"] + 0.4
    assert seconds_of_completed(["a"], WORK, repository=folder) == {"a": result.seconds}
    stamp.write_text(json.dumps({**first, "seconds": 1000.0}))
    (again,) = run_plan([(slow,)], WORK, repository=folder, independent=True, fresh=True)
    assert again.seconds < 1000
    stamp.write_text(json.dumps({"key": "other", "seconds": 1000.0, "finished": False}))
    (other,) = run_plan([(slow,)], WORK, repository=folder, independent=True)
    assert other.seconds < 1000


def test_side_by_side_limits_the_threads_of_a_step_that_runs_alone(folder, monkeypatch):
    (folder / "threads.py").write_text(
        "import os, pathlib, sys; "
        "pathlib.Path(sys.argv[1]).write_text(os.environ['OMP_NUM_THREADS'])"
    )
    monkeypatch.setattr("workflow.steps._cores", lambda: 8)
    steps = [
        Step(name=name, title=name, command=("threads.py", name), side_by_side=share)
        for name, share in (("alone", None), ("paired", 2), ("c", None), ("d", None))
    ]
    run(folder, (steps[0],), (steps[1],), (steps[2], steps[3]))
    assert [(folder / each.name).read_text() for each in steps] == ["8", "4", "4", "4"]


def test_failed_step_runs_again(folder):
    with pytest.raises(StepFailedError):
        run(folder, (step("a", command=("fail.py",)),))
    assert run(folder, (step("a"),))[0] == ["a"]


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        (
            "11/23 13:00:00 - mmengine - INFO - Iter(train) [ 20/600]  lr: 1.0e-03  eta: 0:02:10  "
            "time: 0.2  loss: 0.8123  mask_ratio: 0.75\n",
            "20/600  eta 0:02:10  loss 0.8123",
        ),
        (
            "11/23 13:00:00 - mmengine - INFO - Iter(test) [10/26]    eta: 0:00:05",
            "10/26  eta 0:00:05",
        ),
        ("31/48 images, 7.6 images/s\n", "31/48 images, 7.6 images/s"),
        ("11/23 13:00:00 - mmengine - INFO - \n", ""),
        ("11/23 13:00:00 - mmengine - INFO - Hooks will be executed", ""),
        ("", ""),
    ],
)
def test_progress_in_a_line(line, progress):
    assert parse_progress(line) == progress


def test_independent_steps_are_repeated_only_for_their_own_changes(folder):
    run(folder, (step("a"),), (step("b"), step("c")), independent=True)
    plan = ((step("d"),), (step("c"), step("a", "--new")), (step("b"),))
    assert run(folder, *plan, independent=True)[0] == ["d", "a"]
    (folder / "source.py").write_text("2")
    assert run(folder, *plan, independent=True)[0] == ["d", "c", "a", "b"]


def test_completed_steps_are_those_that_would_be_skipped(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "weights.pth"
    elsewhere.write_text("1")
    steps = [step("a"), step("b"), step("c"), step("d", reads=(str(elsewhere),))]
    run(folder, *((each,) for each in steps[1:]), independent=True)

    def names(*changed):
        return completed_steps([*steps, *changed], WORK, repository=folder)

    assert names() == {"b", "c", "d"}
    (folder / "work/c/out.txt").unlink()
    assert names() == {"b", "d"}
    # A file that a step reads may be outside the repository.
    elsewhere.write_text("2")
    assert names() == {"b"}
    assert completed_steps([step("b", "--new")], WORK, repository=folder) == set()

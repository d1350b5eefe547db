"""A file instead of an output folder, for every tool that writes to a folder."""

import runpy
import sys

import pytest

TOYS = "tests/toys/configs"


@pytest.fixture
def tool(repository, monkeypatch):
    """Run a tool in this process from the repository; give back what it ended with."""
    monkeypatch.chdir(repository)
    monkeypatch.syspath_prepend(str(repository / "tests" / "toys"))

    def tool(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(f"tools/{name}", run_name="__main__")
        return str(ended.value)

    return tool


ARGUMENTS = {
    "train.py": [f"{TOYS}/toy.py", "--work-dir"],
    "test.py": [f"{TOYS}/detector.py", "none.pth", "--work-dir"],
    "test.py --show-dir": [f"{TOYS}/detector.py", "none.pth", "--show-dir"],
    "predict.py": [f"{TOYS}/detector.py", "none.pth", "none.jpg", "--out"],
    "demo.py": ["--quick", "--work-dir"],
    "label_efficiency.py": [
        "configs/detection/atss_vit_micro_town.py", "--index", "none.arrow", "--train", "a",
        "--val", "b", "--init", "random", "--iterations", "1", "--work-dir",
    ],
    "visualize.py": [f"{TOYS}/vit.py", "none.pth", "--out"],
    "visualize_masks.py": ["configs/masks/strategies.py", "--out"],
    "generate_town.py": ["--out"],
}  # fmt: skip


@pytest.mark.parametrize("below", ["", "below"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_file_instead_of_a_folder_is_refused(tool, tmp_path, capsys, name, below):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    ended = tool(name.partition(" ")[0], *ARGUMENTS[name], file / below if below else file)
    said = ended + capsys.readouterr().err
    assert str(file) in said
    own = "exists and is not a generated town"  # it tells whose a folder is
    assert "is a file" in said or (name == "generate_town.py" and not below and own in said)
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_study_takes_the_name_of_a_shipped_config(tool, tmp_path):
    rest = [*ARGUMENTS["label_efficiency.py"][1:], tmp_path / "study"]
    assert "none.arrow" in tool("label_efficiency.py", "atss_vit_micro_town", *rest)
    ended = tool("label_efficiency.py", "atss_vit_micro_twon", *rest)
    assert ended.startswith("ConfigError: there is no config atss_vit_micro_twon, ")
    assert ended.endswith("; did you mean 'atss_vit_micro_town'?")


@pytest.mark.parametrize(
    "arguments",
    [
        ["probe.py", f"{TOYS}/vit.py", "--index", "none.arrow", "--train", "a", "--val", "b"],
        ["analyze_masks.py", "configs/masks/strategies.py", "--index", "none.arrow"],
        ["test.py", f"{TOYS}/detector.py", "none.pth"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_instead_of_a_results_file_is_refused(tool, tmp_path, arguments):
    ended = tool(*arguments, "--out", tmp_path)
    assert ended == f"IsADirectoryError: {tmp_path} is a folder; name a file to write"

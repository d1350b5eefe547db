"""Values of ``--cfg-options``, as text and as Python values."""

import argparse
import math

import pytest

from drivemim.config.option_values import ConfigOptions, format_option, parse_value
from drivemim.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("0123", 123), ("1e-3", 0.001), ("true", True), ("False", False), ("None", None),
        ("none", "none"), ("", ""), ("a=b", "a=b"), ("mini_train", "mini_train"),
        ("a,b", ["a", "b"]), ("1,2", [1, 2]), ("1, 2,", [1, 2]), ("[1,2]", [1, 2]),
        ("(64,96)", (64, 96)), ("(5)", (5,)), ("[]", []), ("()", ()), ("[None,true]", [None, True]),
        ("[[1,2],[3,4]]", [[1, 2], [3, 4]]), ("(1,2),(3,4)", [(1, 2), (3, 4)]),
        ("[a, b c]", ["a", "b c"]), ("['a,b','1']", ["a,b", "1"]), ("'1'", "1"), ('"a,b"', "a,b"),
        ("x y", "x y"), ("/data/my town/x.arrow", "/data/my town/x.arrow"),
        ("a/x,b/y", ["a/x", "b/y"]), ("'/my,dir/x.arrow'", "/my,dir/x.arrow"), ("it's", "it's"),
        ("it's,b", ["it's", "b"]), ("a(b,c", "a(b,c"),
        ("[{'type': 'EMAHook', 'begin_iter': 2}]", [{"type": "EMAHook", "begin_iter": 2}]),
        ("{'type': 'TubeMask'}", {"type": "TubeMask"}),
        ("2011_09_26", "2011_09_26"), ("1_0.5", "1_0.5"), ("[1_0,2]", ["1_0", 2]),
        ("0103_1e5", "0103_1e5"), ("(2011_09_26,)", ("2011_09_26",)),
        ('{"a": 1_2, 3_4: [(2011_09_26, 1)]}', {"a": "1_2", "3_4": [("2011_09_26", 1)]}),
        ("[{'a': -1_2, 'b': 1_0.5}, -12]", [{"a": "-1_2", "b": "1_0.5"}, -12]),
        ("{'é': 1_2, 'b': 'x_y'}", {"é": "1_2", "b": "x_y"}),
    ],
)  # fmt: skip
def test_texts_by_hand(text, value):
    assert repr(parse_value(text)) == repr(value)


def test_files_do_not_change_the_type_of_a_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = [parse_value("my,town.arrow"), parse_value("a/x,b/y"), parse_value("(x y)")]
    (tmp_path / "my,town.arrow").touch()
    (tmp_path / "(x y)").touch()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "xy"[folder == "b"]).touch()
    assert [parse_value("my,town.arrow"), parse_value("a/x,b/y"), parse_value("(x y)")] == wanted
    assert wanted == [["my", "town.arrow"], ["a/x", "b/y"], ("x y",)]
    with pytest.raises(ConfigError, match=r"\(old/x: its brackets or quotes do not match"):
        parse_value("(old/x")


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, -1, 1e-3, math.inf, (64, 96), [64, 96], (5,), (), [], ["a,b", "c"], [None],
        [[1, 2], [3, 4]], [{"type": "EMAHook"}], ({"a": 1},), "True", "none", "None", "a,b", "1",
        "x y", " x", "[1,2]", "(1,2)", "it's", "'", '"', "\\", "", "a=b", "{}", "[",
        "/my,dir/x.arrow", "2011_09_26", ["1_0", 10],        ["'", "\\'", ","],
    ],
)  # fmt: skip
def test_options_come_back(value):
    key, _, text = format_option("a.b", value).partition("=")
    assert key == "a.b"
    assert repr(parse_value(text)) == repr(value)


def test_plain_texts_are_written_as_they_are():
    assert format_option("k", "town.arrow") == "k=town.arrow"
    assert format_option("k", "my town.arrow") == "k=my town.arrow"
    assert format_option("k", [1.0, 2]) == "k=[1.0, 2]"
    with pytest.raises(ConfigError, match=r"options\['k'\]=\[<object .* cannot be given as"):
        format_option("k", [object()])


def test_the_action_collects_and_refuses(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=ConfigOptions)
    found = parser.parse_args(["--cfg-options", "a=1", "b=x y", "--cfg-options", "c=1,2"])
    assert found.cfg_options == {"a": 1, "b": "x y", "c": [1, 2]}
    for text, message in (("a", "'a' is not KEY=VALUE"), ("a=[1,2", "a=[1,2: its brackets or")):
        with pytest.raises(SystemExit):
            parser.parse_args(["--cfg-options", text])
        assert message in capsys.readouterr().err

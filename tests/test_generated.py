from drivemim.generated import MARKER, is_generated


def test_a_data_set_is_generated_if_the_marker_is_a_file_in_its_root(tmp_path):
    assert not is_generated(tmp_path)
    assert not is_generated(tmp_path / "missing")
    (tmp_path / MARKER).mkdir()
    assert not is_generated(tmp_path)
    (tmp_path / MARKER).rmdir()
    (tmp_path / MARKER).write_text("{}")
    assert is_generated(tmp_path)

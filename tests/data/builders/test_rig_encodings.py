"""Tables of a rig in other encodings than UTF-8."""

import pytest

from drivemim.data.index.builders.rig_tables import ProblemList, read_csv
from drivemim.errors import DataError


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-16", "is UTF-16 text; save it as UTF-8"), ("latin1", "is not UTF-8 text")],
)
def test_other_encodings_are_named(tmp_path, encoding, said):
    (tmp_path / "poses.csv").write_bytes("timestamp,x\n1,ä\n".encode(encoding))
    with pytest.raises(DataError, match=said):
        read_csv(tmp_path / "poses.csv", ["timestamp"], ["x"], ProblemList())

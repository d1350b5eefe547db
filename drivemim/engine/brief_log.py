"""The line that MMEngine logs at the end of an evaluation, without what the table already says."""

from __future__ import annotations

import re
from typing import Any

from mmengine.runner import LogProcessor

from drivemim.registry import LOG_PROCESSORS

# ``drivemim/pedestrian_AP50[distance 0-20 m]: 0.1234`` and the spaces after it.
_SLICED = re.compile(r"\S+\[[^]]*\]: \S+ *")


@LOG_PROCESSORS.register_module()
class BriefLogProcessor(LogProcessor):
    """MMEngine's, without the numbers of slices in the line after an evaluation.

    There are some two hundred of them. They are in the table above the line, in the JSON file, and
    in whatever else the visualizer writes.
    """

    def get_log_after_epoch(
        self, runner: Any, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """As the base's; the numbers are whole, the line is short."""
        numbers, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        return numbers, _SLICED.sub("", line).rstrip()

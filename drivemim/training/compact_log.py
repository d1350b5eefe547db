"""Log processor that shortens the line that MMEngine logs after an evaluation."""

from __future__ import annotations

import re
from typing import Any

from mmengine.runner import LogProcessor

from drivemim.registry import LOG_PROCESSORS

# ``drivemim/pedestrian_AP50[distance 0-20 m]: 0.1234`` and the spaces after it.
_SLICED = re.compile(r"\S+\[[^]]*\]: \S+ *")


@LOG_PROCESSORS.register_module()
class CompactLogProcessor(LogProcessor):
    """MMEngine's ``LogProcessor``, without metrics of slices in the line after an evaluation.

    There are about two hundred of them. They are also in the table above the line, in the JSON
    file, and in everything else that the visualizer writes.
    """

    def get_log_after_epoch(
        self, runner: Any, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Return all numbers, and the line without those of slices."""
        numbers, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        return numbers, _SLICED.sub("", line).rstrip()

"""The demo: the whole path on a generated town, from no data to a report."""

from drivemim.demo.plan import DemoSettings, Step, make_plan
from drivemim.demo.report import write_demo_report
from drivemim.demo.runner import StepFailedError, run_plan

__all__ = [
    "DemoSettings",
    "Step",
    "StepFailedError",
    "make_plan",
    "run_plan",
    "write_demo_report",
]

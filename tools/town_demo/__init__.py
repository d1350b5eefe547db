"""The demo: the whole pipeline on a generated town, from data generation to a report."""

from town_demo.plan import DemoSettings, make_plan
from town_demo.report import read_outcome, write_demo_report

__all__ = ["DemoSettings", "make_plan", "read_outcome", "write_demo_report"]

"""The demo: the whole pipeline on a generated town, from data generation to a report."""

from town_demo.demo_plan import DemoSettings, plan_demo
from town_demo.demo_report import read_outcome, write_demo_report

__all__ = ["DemoSettings", "plan_demo", "read_outcome", "write_demo_report"]

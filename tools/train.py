"""Train a pretrainer or a detector: python tools/train.py CONFIG."""

from drivemim.errors import one_line_stops

if __name__ == "__main__":
    with one_line_stops():  # also during the import, which takes seconds
        from drivemim.cli.train import main

        main()

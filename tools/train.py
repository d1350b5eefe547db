"""Train a pretrainer or a detector: python tools/train.py CONFIG."""

from drivemim.process_ends import one_line_stops

if __name__ == "__main__":
    with one_line_stops():  # Ctrl-C and SIGTERM, also during the import, which takes seconds
        from drivemim.cli.train import main

        main()

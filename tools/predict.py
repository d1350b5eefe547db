"""Draw a detector's detections: python tools/predict.py CONFIG CHECKPOINT SOURCE."""

from drivemim.cli.predict import main

if __name__ == "__main__":
    main()

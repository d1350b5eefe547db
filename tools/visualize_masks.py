"""Draw the mask of each strategy on one clip: visualize_masks.py CONFIG --out FOLDER."""

from drivemim.cli.visualize_masks import main

if __name__ == "__main__":
    main()

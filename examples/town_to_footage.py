"""Write a scene of a generated town as footage: python examples/town_to_footage.py TOWN OUT.

The front camera's images become a folder of images, those of the back camera a video.
"""

import shutil
import sys
from pathlib import Path

import cv2

from drivemim.arguments import run_with_paths

SCENE = "scene-0061"  # of the split mini_train
RATE = 5.0  # images per second


def main(town: Path, out: Path) -> None:
    """Write ``OUT/front/*.jpg`` and ``OUT/back.mp4``."""
    (out / "front").mkdir(parents=True, exist_ok=True)
    for image in images_of(town, "CAM_FRONT"):
        shutil.copy(image, out / "front")
    video = None
    for image in images_of(town, "CAM_BACK"):
        pixels = cv2.imread(str(image))
        if video is None:
            height, width = pixels.shape[:2]
            code = cv2.VideoWriter.fourcc(*"mp4v")
            video = cv2.VideoWriter(str(out / "back.mp4"), code, RATE, (width, height))
        video.write(pixels)
    if video is None:
        sys.exit(f"{town} has no images of {SCENE}")
    video.release()


def images_of(town: Path, camera: str) -> list[Path]:
    """Return the keyframes and sweeps of a camera, in the order of time."""
    found = town.glob(f"s*/{camera}/{SCENE}__*.jpg")
    return sorted(found, key=lambda path: path.name)


if __name__ == "__main__":
    run_with_paths(main, __doc__)

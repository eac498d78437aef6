"""Makes thumbnails of a folder of pictures, each in a task of its own.

    .venv/bin/python examples/functions/thumbnails/thumbnails.py [PICTURES] [THUMBNAILS]

Without a folder it draws some pictures first. The endpoint must see the folders, and its Python needs Pillow.
"""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import as_completed
from pathlib import Path

from compute_agent.sdk import Executor

LARGEST = 128


def thumbnail(picture: str, target: str, largest: int) -> tuple[int, int]:
    """Runs on the endpoint. Gives the size in pixels."""
    from PIL import Image, ImageOps

    with Image.open(picture) as image:
        small = ImageOps.exif_transpose(image)
        small.thumbnail((largest, largest))
        small.convert("RGB").save(target, "JPEG", quality=85)
        return small.size


def draw(folder: Path, count: int = 12) -> None:
    """Pictures to work on: gradients of different shapes."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        size = (640 + 80 * number, 480)
        image = Image.linear_gradient("L").resize(size)
        Image.merge("RGB", (image, image.rotate(30 * number), image.transpose(Image.Transpose.FLIP_TOP_BOTTOM))).save(
            folder / f"picture-{number:02}.png"
        )


def main() -> int:
    given = [Path(text).resolve() for text in sys.argv[1:3]]
    root = Path(tempfile.mkdtemp(prefix="thumbnails-"))
    pictures, target = [*given, *[root / "pictures", root / "small"][len(given) :]]
    if not given:
        draw(pictures)
    target.mkdir(parents=True, exist_ok=True)
    found = sorted(path for path in pictures.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif"))
    with Executor(os.environ.get("ENDPOINT")) as executor:
        futures = {
            executor.submit(thumbnail, str(path), str(target / f"{path.stem}.jpg"), LARGEST): path for path in found
        }
        for future in as_completed(futures):
            width, height = future.result()
            print(f"{futures[future].name:24} {width} x {height}")
    made = list(target.glob("*.jpg"))
    print(f"{len(made)} thumbnails in {target}")
    return 0 if len(made) == len(found) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

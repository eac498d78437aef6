"""The function that the flow calls. As a program, registers it and prints two ids: of the function, of the endpoint.

    python examples/transfer_compute/functions.py

With ``ENDPOINT`` set it is that endpoint; without, the only one that you may use. Its Python needs Pillow.
"""

from __future__ import annotations

import os

from compute_agent.sdk import Executor


def function(picture: str, folder: str, largest: int = 128) -> dict[str, object]:
    """Runs on the endpoint: makes a thumbnail in the folder; gives its name and its size in pixels."""
    from pathlib import Path

    from PIL import Image

    target = Path(folder) / f"{Path(picture).stem}.jpg"
    with Image.open(picture) as image:
        image.thumbnail((largest, largest))
        image.convert("RGB").save(target, "JPEG")
        return {"name": target.name, "size": image.size}


if __name__ == "__main__":
    with Executor(os.environ.get("ENDPOINT")) as executor:
        print(executor.client.register_function(function, name="thumbnail"), executor.endpoint_id)

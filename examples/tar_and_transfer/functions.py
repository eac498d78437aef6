"""The function that the flow calls. As a program, registers it and prints two ids: of the function, of the endpoint.

    python examples/tar_and_transfer/functions.py

With ``ENDPOINT`` set it is that endpoint; without, the only one that you may use.
"""

from __future__ import annotations

import os

from compute_agent.sdk import Executor


def function(folder: str, archive: str) -> dict[str, object]:
    """Runs on the endpoint: packs the files of a folder."""
    import tarfile
    from pathlib import Path

    top = Path(folder)
    files = sorted(path for path in top.rglob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"there are no files in {top}")
    with tarfile.open(archive, "w:gz") as tar:
        for path in files:
            tar.add(path, arcname=path.relative_to(top.parent))
    return {"archive": archive, "files": len(files)}


if __name__ == "__main__":
    with Executor(os.environ.get("ENDPOINT")) as executor:
        print(executor.client.register_function(function, name="make_archive"), executor.endpoint_id)

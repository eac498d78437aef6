"""Write requirements.lock: every package the project and its tools need, pinned with hashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Made by `make lock` from pyproject.toml. Installed with pip --require-hashes.\n"


def main() -> None:
    """Resolve with uv, which is needed for this alone and is installed on demand."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--quiet",
        "--extra",
        "dev",
        "--upgrade",
        "pyproject.toml",
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - fixed arguments
    (ROOT / "requirements.lock").write_text(HEADER + done.stdout)


if __name__ == "__main__":
    main()

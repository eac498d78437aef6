"""The Python blocks of the pages about functions, typed at a Python prompt one after the other, as a newcomer does.

A prompt is stricter than a file: a blank line ends a function or a loop there, and functions have no source.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Page -> what its blocks print, in this order, among other lines.
PRINTS = {
    "README.md": [r"3\.1\d+"],
    "docs/compute-sdk.md": [
        r"12\.566370614359172",
        r"\[0\.0, 3\.14159\d+, .*\]",
        r"[0-9a-f-]{36} Built-in endpoint online",
        r"Hello, Ada",
        r"0 \d+",
        r"\[12\.566370614359172, 28\.27433\d+\]",
        r"28\.27433\d+|QUEUED|LEASED|RUNNING",
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environ = {"FLOWS_COMPUTE_ENDPOINT": "process", "FLOWS_COMPUTE_WORKERS": "2"}
    process = ServerProcess(tmp_path_factory.mktemp("pages") / "data", environ=environ)
    process.start()
    process.compute_endpoint()
    yield process
    process.close()


@pytest.mark.parametrize("page", PRINTS)
def test_blocks_of_the_page_work_at_a_prompt(page: str, server: ServerProcess, tmp_path: Path) -> None:
    blocks = [one for one in _BLOCK.findall((ROOT / page).read_text()) if "globus_sdk" not in one]
    assert blocks

    done = _typed(blocks, server, tmp_path)

    assert "Error" not in done.stderr, done.stderr
    at = 0
    for pattern in PRINTS[page]:
        found = re.compile(f"^{pattern}$", re.MULTILINE).search(done.stdout, at)
        assert found is not None, f"{pattern} is not in what was printed:\n{done.stdout[at:]}\n{done.stderr}"
        at = found.end()


def _typed(blocks: Sequence[str], server: ServerProcess, home: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWS_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-i", "-q"],
        input="\n\n".join([*blocks, ""]),
        cwd=home,
        env={**inherited, "HOME": str(home), "FLOWS_DATA_DIR": str(server.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )

"""The examples of functions, run by the commands in their READMEs on a server with its built-in endpoint on Parsl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess
from tests.examples.shell import commands_of, run_commands

READMES = sorted(Path(__file__).parents[2].glob("examples/functions/*/README.md"))
#: What the last line of a program says when all went well.
ENDS_WITH = {
    "active_learning": "measurements are near the peak",
    "pi": "pi is about 3.1",
    "sweep": "15 of 20 points, 5 impossible",
    "thumbnails": "12 thumbnails in",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environ = {"FLOWS_COMPUTE_ENDPOINT": "parsl", "FLOWS_COMPUTE_WORKERS": "2"}
    process = ServerProcess(tmp_path_factory.mktemp("functions") / "data", environ=environ)
    process.start()
    process.compute_endpoint()
    yield process
    process.close()


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_program_ends_well(readme: Path, server: ServerProcess, tmp_path: Path) -> None:
    done = run_commands(commands_of(readme), server, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert ENDS_WITH[readme.parent.name] in done.stdout.splitlines()[-2] + done.stdout.splitlines()[-1]

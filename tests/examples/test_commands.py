"""The commands of the READMEs, run as they stand there, and the demo: what a newcomer types must work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.e2e.agent import AgentProcess
from tests.e2e.server import ServerProcess
from tests.examples.shell import commands_of, run_commands

ROOT = Path(__file__).parents[2]
READMES = sorted(ROOT.glob("examples/*/README.md"))
PAGES = ["README.md", "docs/cli.md"]
_FIRST_COMMAND = re.compile(r"^\$ (flows (?:deploy examples|start \"|run examples).*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("commands") / "data")
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def endpoint(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """The only compute endpoint of the server."""
    agent = AgentProcess(tmp_path_factory.mktemp("agents"), server, {"engine": {"type": "ThreadPoolEngine"}})
    agent.start()
    yield agent
    agent.close()


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_commands_of_the_readme_work(
    readme: Path, server: ServerProcess, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if (readme.parent / "functions.py").exists():
        request.getfixturevalue("endpoint")

    done = run_commands(commands_of(readme), server, tmp_path)

    assert done.returncode == 0, done.stderr
    assert "FlowSucceeded" in done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_first_commands_of_the_page_work(page: str, server: ServerProcess, tmp_path: Path) -> None:
    done = run_commands(_FIRST_COMMAND.findall((ROOT / page).read_text()), server, tmp_path)

    assert done.returncode == 0, done.stderr
    assert "FlowSucceeded" in done.stderr


def test_demo_ends_well_and_stops_its_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 of 49 files" in done.stdout
    assert "copied, identical" in done.stdout
    assert not (tmp_path / "demo" / "engine" / "server.json").exists()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda target: (target / "a.csv").write_text("2"), "contents differ"),
        (lambda target: (target / "a.csv").unlink(), "missing at the target"),
        (lambda target: (target / "a.log").write_text(""), "too many"),
    ],
)
def test_demo_notices_a_copy_that_is_wrong(spoil: object, complaint: str, tmp_path: Path) -> None:
    demo = _demo()
    source, target = tmp_path / "source", tmp_path / "target"
    for root in (source, target):
        root.mkdir()
        (root / "a.csv").write_text("1")
    (source / "a.log").write_text("")
    output = {"summary": {"files": 1, "text": "1 file"}}
    run = SimpleNamespace(status="SUCCEEDED", details={"output": output}, log=lambda: iter(()))
    demo.verify(run, source, target)

    spoil(target)  # type: ignore[operator]  # one of the functions above

    with pytest.raises(demo.DemoError, match=complaint):
        demo.verify(run, source, target)


def _demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo"] = module
    spec.loader.exec_module(module)
    return module

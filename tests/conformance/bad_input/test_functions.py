"""B83, B84, B86: functions, results and template values that are not right.

All of it through a server, an agent and its worker processes, as their user sees it: in the exception, and in the
agent's log. After each, the same endpoint runs the next task.
"""

from __future__ import annotations

import base64
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute_agent.connection import Http
from compute_agent.sdk import ApiError, Client, Executor, PayloadTooLargeError, SerializationError, TaskFailed
from compute_agent.wire import ErrorCode
from flows_engine.local import credentials
from tests.conformance.bad_input.rows import by_id, rows_of
from tests.conformance.bad_input.service import COMPUTE
from tests.e2e.agent import AgentProcess
from tests.e2e.server import ServerProcess

PATIENCE_S = 60.0
TEMPLATE = """\
engine:
  type: process
  max_workers: 1
  working_dir: {{ folder|default("usual") }}
"""


class Lab:
    """An endpoint whose template puts a text of the submitter's into its configuration."""

    def __init__(self, place: Path) -> None:
        self.server = ServerProcess(place / "data")
        self.server.start()
        self.agent = AgentProcess(place / "agents", self.server, {})
        (self.agent.folder / "user_config_template.yaml.j2").write_text(TEMPLATE)
        (self.agent.folder / "user_config_schema.json").unlink()
        self.agent.start()
        self.client = Client(data_dir=self.server.data_dir)
        self.executor = Executor(self.agent.endpoint_id, client=self.client)

    def close(self) -> None:
        self.agent.close()
        self.server.close()
        self.client.close()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args).result(PATIENCE_S)

    def run_code(self, code: str) -> Any:
        """A function that somebody registered with this code."""
        body = {"function_name": "odd", "function_code": code, "serialized": True}
        function_id = self.register(body)["function_uuid"]
        return self.executor.submit_to_registered_function(function_id).result(PATIENCE_S)

    def register(self, body: dict[str, Any]) -> Any:
        """As a program would that does not use the SDK."""
        client_id, secret = credentials(self.server.data_dir)
        http = Http(self.server.url, client_id=client_id, client_secret=secret)
        try:
            return http.call("POST", "/compute/v3/functions", scope=COMPUTE, body=body)
        finally:
            http.close()

    def line_of(self, task_id: str, event: str) -> str:
        """The line of the agent's log that tells this of the task. It may be written after the result is there."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in (self.agent.folder / "endpoint.log").read_text().splitlines():
                if event in line and task_id in line:
                    return line
            threading.Event().wait(0.02)
        raise AssertionError(f"the agent's log has no line about task {task_id}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    made.close()


def fails(lab: Lab, run: Callable[[], Any], code: ErrorCode, *says: str) -> None:
    """With this code and these words, in the exception and in the agent's log."""
    with pytest.raises(TaskFailed) as failed:
        run()
    error = failed.value
    line = lab.line_of(error.task_id, "task failed")
    assert error.code == code
    assert f"code={code}" in line
    for text in says:
        assert text in str(error)
        assert text in line
    assert "Traceback" not in str(error)
    assert lab.run(abs, -3) == 3, "the endpoint does not run the next task"


def code_of_a_function(lab: Lab) -> None:
    """20 MB of it; code that cannot be decoded; code of another Python."""
    large = f"def large():\n    return 1\n# {'x' * 20_000_000}\n"
    with pytest.raises(
        PayloadTooLargeError, match=r"the function large is 19.1 MiB .* 10 MiB are taken; keep data out"
    ):
        lab.client.register_source_code(large, "large")
    body = {"function_name": "large", "function_code": large, "serialized": False}
    with pytest.raises(ApiError, match="10485760") as refused:
        lab.register(body)
    assert (refused.value.status, refused.value.code) == (413, "FUNCTION_TOO_LARGE")

    here = platform.python_version()
    undecodable = {
        "no format at all": "begins with 'no format at all', and not with one of the formats",
        "12\nzz\nno length": "no length at character 0",
        f"c1\n{here} {base64.b64encode(b'junk').decode()}": "its text is damaged",
        f"c1\n{here} A": "it is not base64 text",
    }
    for code, says in undecodable.items():
        fails(
            lab, lambda code=code: lab.run_code(code), ErrorCode.COULD_NOT_EXECUTE, "the function cannot be read", says
        )

    newer = f"c1\n3.99.1 {base64.b64encode(b'junk').decode()}"
    both = ("registered by Python 3.99.1", f"would run on Python {here}", "register its source, which runs on both")
    fails(lab, lambda: lab.run_code(newer), ErrorCode.PYTHON_VERSION_MISMATCH, *both)


def returns_a_lock() -> Any:
    import threading

    return {"made": [threading.Lock()]}


def returns_100_mb() -> Any:
    return "x" * 100_000_000


def returns_itself() -> Any:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def returns_what_ends_the_program() -> Any:
    class Hostile:
        def __reduce__(self) -> Any:
            raise SystemExit(3)

    return Hostile()


def result(lab: Lab) -> None:
    """One that cannot be serialised, one of 100 MB, one that contains itself, one that fights back."""
    plain = "return plain data, or the path of a file"
    for function, says in {
        returns_a_lock: "_thread.lock at value['made'][0] cannot be pickled",
        returns_itself: "the value is recursive: a list contains itself",
        returns_what_ends_the_program: "SystemExit: 3",
    }.items():
        code = ErrorCode.RESULT_NOT_SERIALIZABLE
        fails(lab, lambda function=function: lab.run(function), code, "result could not be sent: ", says, plain)
    size = ("100,000,005 bytes", "10,485,760 are allowed", "write it to a file and return its path")
    fails(lab, lambda: lab.run(returns_100_mb), ErrorCode.MAX_RESULT_SIZE_EXCEEDED, *size)


def where_am_i() -> str:
    import os

    return os.getcwd()


def template_value(lab: Lab) -> None:
    """Whatever a text looks like to Jinja or YAML, it arrives as that text."""
    texts = [
        "a\n  type: thread",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "&a x",
        "*a",
        '"',
        "'",
        "!!str x",
        "# x",
        "no: [x",
        "~",
        "\\n",
    ]
    try:
        for text in texts:
            lab.executor.user_endpoint_config = {"folder": text}
            assert lab.run(where_am_i).endswith(f"/{text}")
    finally:
        lab.executor.user_endpoint_config = None


ROWS = rows_of(
    {
        "B83 code of a function": code_of_a_function,
        "B84 result": result,
        "B86 template value": template_value,
    }
)


@by_id(ROWS)
def test_what_is_not_right_is_told_and_harms_nothing_else(lab: Lab, row: Any) -> None:
    row.check(lab)


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((1, threading.Lock()), {}, r"argument 2 cannot be sent: _thread.lock at the value itself cannot be pickled"),
        ((), {"jobs": {"a": [threading.Lock()]}}, r"jobs cannot be sent: _thread.lock at value\['a'\]\[0\]"),
        ((), {1: 2}, "the name of a keyword argument must be text, not 1"),
    ],
)
def test_an_argument_that_cannot_be_sent_is_named_at_the_callers_line(
    lab: Lab, args: Any, kwargs: Any, says: str
) -> None:
    function_id = lab.client.register_source_code("def f(*args, **kwargs):\n    return 1\n", "f")
    with pytest.raises(SerializationError, match=says):
        lab.executor.submit_to_registered_function(function_id, args, kwargs)


def test_what_a_function_raises_is_its_users_and_only_that_it_did_is_logged(lab: Lab) -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        lab.run(divmod, 1, 0)
    error: Any = failed.value
    assert lab.line_of(error.task_id, "the function raised an exception").endswith("code=RemoteExecutionError")

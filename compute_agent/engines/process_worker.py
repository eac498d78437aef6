"""The program of one worker process of the process engine: ``python -m compute_agent.engines.process_worker FD``.

Reads tasks from the socket with that descriptor and writes a report for each, until the agent closes it.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

import orjson

from ..wire import ErrorCode
from .worker import run_task


def main(descriptor: int) -> None:
    os.set_inheritable(descriptor, False)  # else children of a function would hold the socket open
    with Connection(descriptor) as connection:
        while True:
            try:
                task = connection.recv_bytes()
            except (EOFError, ConnectionError):
                return
            try:
                connection.send_bytes(_run(task))
            except ConnectionError:
                return


def _run(task: bytes) -> bytes:
    report = run_task(orjson.loads(task))
    try:
        return orjson.dumps(report)
    except TypeError as error:  # text that is not Unicode
        message = f"result could not be sent: {error}"
        return orjson.dumps({"status": "failed", "code": str(ErrorCode.RESULT_NOT_SERIALIZABLE), "message": message})


if __name__ == "__main__":
    main(int(sys.argv[1]))

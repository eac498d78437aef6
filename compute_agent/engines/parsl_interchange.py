"""The program of Parsl's interchange, which ends when the agent that started it is gone, however it went.

Without it an agent that is killed would leave interchange, blocks and workers behind for ever: the blocks of a silent
interchange end by themselves. Started by its own interpreter, so nothing need be on PATH.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import threading
import time

_LOOK_S = 1.0


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(0)


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.setsid()  # Ctrl-C at the agent's terminal is the agent's to act on
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent-watch").start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

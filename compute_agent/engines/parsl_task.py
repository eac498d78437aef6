"""What a Parsl worker calls for one task. Named by its import path in every task, so that no code travels with it."""

from __future__ import annotations

from typing import Any

import orjson

from .worker import run_task

#: Import path that a task carries.
PATH = f"{__name__}.execute"


def execute(buffer: bytes) -> dict[str, Any]:
    """``buffer`` is ``worker.request`` as JSON. Gives the report; see ``base.Report``."""
    return run_task(orjson.loads(buffer))

"""The programs in the documentation, so that tests can run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[3] / "docs"
_PROGRAM = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def programs(page: str) -> list[str]:
    """Python blocks of the page, in order; those marked ``python skip`` are left out."""
    return _PROGRAM.findall((_DOCS / page).read_text())


def executed(program: str) -> dict[str, Any]:
    """The names that the program defines when it is run."""
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(program, "documentation", "exec"), names)
    return names

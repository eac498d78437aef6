"""What must not be in the repository, and what the product must not contain."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path
    for room in ("flows_engine", "action_providers", "compute_agent", "timers", "schemas")
    for path in sorted((ROOT / room).rglob("*.py"))
]

#: Constructions that the design forbids, and why.
FORBIDDEN = {
    r"\beval\(": "expressions are interpreted, never evaluated by Python",
    r"\bexec\(": "no code from data",
    r"\b(?:pickle|cloudpickle|dill)\.": "what comes from elsewhere is never unpickled",
    r"yaml\.load\(": "only the safe loader",
    r"shell=True": "no shell",
    r"verify=False": "TLS is verified",
    r"datetime\.utcnow|datetime\.now\(\)": "times are aware",
    r"except Exception:\s*\n\s*pass": "no error is swallowed",
}

_PICKLES = r"\b(?:pickle|cloudpickle|dill)\."
#: Where functions of users are packed and decoded, on the machines of those who wrote and who run them: that is the
#: purpose of these modules. Parsl's node manager packs what its interchange expects, and
#: the interchange gets its options so.
ALLOWED = {
    "compute_agent/serialize.py": (r"\bexec\(", _PICKLES),
    "compute_agent/by_value.py": (_PICKLES,),
    "compute_agent/engines/parsl_pool.py": (_PICKLES,),
    "compute_agent/engines/parsl_interchange.py": (_PICKLES,),
}


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_the_product_does_without(pattern: str) -> None:
    found = [str(path.relative_to(ROOT)) for path in PRODUCT if re.search(pattern, path.read_text())]
    allowed = [path for path, patterns in ALLOWED.items() if pattern in patterns]
    assert set(found) - set(allowed) == set(), FORBIDDEN[pattern]


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if path.stat().st_size and not path.read_text().lstrip().startswith('"""')
    ]
    assert silent == []


def test_every_ignore_has_its_reason() -> None:
    bare = re.compile(r"#\s*(?:noqa(?:: [A-Z0-9, ]+)?|type: ignore(?:\[[^\]]+\])?)\s*$", re.MULTILINE)
    found = [str(path.relative_to(ROOT)) for path in PRODUCT if bare.search(path.read_text())]
    assert found == []


def test_no_tracked_file_is_large_or_names_a_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in tracked if name]
    assert [str(file) for file in files if file.exists() and file.stat().st_size > 512 * 1024] == []

"""The documentation leads nowhere wrong: every relative link has its target, every page is reachable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_have_targets(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {next(iter(entry.values())) for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]}
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").glob("*.md")}
    assert listed - {"decisions/README.md"} == pages


def test_every_setting_is_documented() -> None:
    names = set(re.findall(r'"(FLOWS_[A-Z_]+)"', (ROOT / "flows_engine" / "settings.py").read_text()))
    described = (ROOT / "docs" / "operations.md").read_text()
    assert {name for name in names if name not in described} == set()

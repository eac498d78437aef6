"""Where ``flows serve`` may listen, and how it is reached from this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows_engine.cli.failures import Usage
from flows_engine.cli.serve import check_address, local_url
from flows_engine.settings import Settings


def settings(host: str, public_url: str = "") -> Settings:
    return Settings(data_dir=Path("x"), database_url="sqlite:///x", host=host, port=81, public_url=public_url)


@pytest.mark.parametrize(
    ("host", "public_url", "has_proxy", "allowed"),
    [
        ("127.0.0.1", "", False, True),
        ("127.5.6.7", "", False, True),
        ("::1", "", False, True),
        ("localhost", "", False, True),
        ("0.0.0.0", "", False, False),
        ("::", "", False, False),
        ("192.0.2.7", "", False, False),
        ("flows.example.org", "", False, False),
        ("0.0.0.0", "http://flows.example.org", False, False),
        ("0.0.0.0", "https://flows.example.org", False, True),
        ("0.0.0.0", "", True, True),
        ("", "", False, False),
    ],
)
def test_plain_http_is_for_this_machine_alone(host: str, public_url: str, has_proxy: bool, allowed: bool) -> None:
    if allowed:
        check_address(settings(host, public_url), has_proxy=has_proxy)
        return
    with pytest.raises(Usage, match="FLOWS_PUBLIC_URL"):
        check_address(settings(host, public_url), has_proxy=has_proxy)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:81"),
        ("0.0.0.0", "http://127.0.0.1:81"),
        ("::", "http://[::1]:81"),
        ("::1", "http://[::1]:81"),
        ("localhost", "http://localhost:81"),
    ],
)
def test_this_machine_reaches_every_address(host: str, url: str) -> None:
    assert local_url(settings(host)) == url

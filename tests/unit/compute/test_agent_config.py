"""What ``config.yaml`` may say, and what is answered to what it may not."""

from __future__ import annotations

import pytest

from compute_agent.agent.config import read_config, read_rendered
from compute_agent.agent.yaml_text import ConfigError, YamlText

USER = "00000000-0000-4000-8000-000000000001"


def test_published_keys_are_read() -> None:
    config = read_config(
        f"""
display_name: Lab
public: true
allowed_functions: [{USER.upper()}]
heartbeat_period: 15
idle_heartbeats_soft: 10
users: [{USER}, 'urn:globus:groups:id:{USER}']
engine: {{type: thread}}
"""
    )
    assert config.display_name == "Lab"
    assert config.public
    assert config.allowed_functions == (USER,)
    assert config.heartbeat_period == 15
    assert config.users == (f"urn:globus:auth:identity:{USER}", f"urn:globus:groups:id:{USER}")
    assert config.engine == {"type": "thread"}


def test_an_empty_file_is_a_configuration() -> None:
    assert read_config("").allowed_functions is None


def test_published_keys_without_a_meaning_are_noted() -> None:
    assert read_config("admins: [x]\n").notes == ("config.yaml, line 1: admins has no meaning here and is ignored",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "displayname: x",
            "line 1: displayname is not a key of an endpoint's configuration; did you mean 'display_name'?",
        ),
        ("\n\nengin: {type: x}", "line 3: engin is not a key"),
        ("public: maybe", "line 1: public is 'maybe'; it must be true or false"),
        ("heartbeat_period: 1", "it must be a number of seconds from 5 to 86400"),
        ("allowed_functions: [one]", "allowed_functions.0 is 'one'; it must be the UUID of a function"),
        ("users: everybody", "or all_authenticated_users"),
        ("users: ['urn:x']", "users.0 is 'urn:x'; it must be a URN such as"),
        ("engine: thread", "must be a block with at least a 'type'"),
        ("engine: {max_workers: 2}", "must be a block with at least a 'type'"),
        ("engine: {type: parsl, start_markers: false}", "at the root of config.yaml"),
        ("high_assurance: true", "high_assurance cannot be kept by this agent"),
        ("authentication_policy: 1234", "say with 'users' who may submit"),
        ("public: true\npublic: false", "line 2: public is there already, in line 1; remove one"),
        ("engine: {type: a, type: b}", "engine.type is there already"),
        ("- a\n- b", "holds a list; it must hold 'key: value' lines"),
        ("engine: {type: 'x", "config.yaml, line 1"),
        ("a: !!python/object:os.system x", "this is not YAML"),
        ("grace_period: -1", "grace_period is -1"),
        ("1: x", "the key 1 is not a word"),
        ('display_name: "a\\x07"', "display_name must be printable text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_config(text)
    assert sentence in str(raised.value)
    assert "config.yaml" in str(raised.value)


def test_a_guard_that_is_off_is_no_guard() -> None:
    assert read_config("high_assurance: false\n").notes == ()


def test_walltimes_and_dates_stay_text() -> None:
    engine = read_rendered(
        "engine: {type: x, walltime: 01:30:00, day: 2026-01-31, n: 0x10, f: 1.5, e: 1e3}", "t"
    ).engine
    assert engine == {"type": "x", "walltime": "01:30:00", "day": "2026-01-31", "n": 16, "f": 1.5, "e": 1000.0}


def test_a_rendered_configuration_needs_an_engine() -> None:
    with pytest.raises(ConfigError, match=r"needs one, such as 'engine: \{type: thread\}'"):
        read_rendered("heartbeat_period: 30\n", "template")


def test_yaml_that_is_too_deep_or_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match="levels deep"):
        YamlText("a: " + "[" * 60 + "]" * 60, "x")
    with pytest.raises(ConfigError, match="at most"):
        YamlText("a: " + "x" * 300_000, "x")

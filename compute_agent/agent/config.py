"""``config.yaml`` of an endpoint: the published keys, and a few of ours, checked before anything is registered.

A key that is unknown is refused with the nearest one. Published keys that have no meaning here are noted and ignored,
unless ignoring them would open the endpoint further than its owner thinks: those are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.json_text import Json
from schemas.principals import ALL_AUTHENTICATED_USERS, identity_urn, is_identity_or_group, normal_uuid

from ..engines.options import near_name
from .yaml_text import ConfigError, YamlText, text_keys

FILE_NAME = "config.yaml"
#: The shortest heartbeat period that the hosted service's own agent accepts.
_LEAST_HEARTBEAT_S = 5.0

_USERS_ADVICE = "remove it, and say with 'users' who may submit"
#: Published keys that guard an endpoint there and cannot be kept here; the advice follows the refusal.
_GUARDS = {
    "authentication_policy": _USERS_ADVICE,
    "high_assurance": "remove it: this agent offers no high assurance",
    "identity_mapping_config_path": "remove it: all tasks run as the user who starts the agent",
    "pam": "remove it: all tasks run as the user who starts the agent",
    "audit_log_path": "remove it: the service keeps who submitted what",
}
#: Published keys without a meaning here.
_IGNORED = frozenset(
    {
        "admins",
        "subscription_id",
        "amqp_port",
        "debug",
        "environment",
        "local_compute_services",
        "email",
        "mu_child_ep_grace_period_s",
        "heartbeat_threshold",
        "endpoint_setup",
        "endpoint_teardown",
        "paths",
        "multi_user",
        "idle_heartbeats_hard",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """What ``config.yaml`` says. ``allowed_functions`` is None when every function may run; ``engine`` is None when the
    template has it; ``heartbeat_period`` is None when the service's is right. Times in seconds."""

    display_name: str = ""
    description: str = ""
    public: bool = False
    allowed_functions: tuple[str, ...] | None = None
    users: tuple[str, ...] | str = ()
    heartbeat_period: float | None = None
    idle_heartbeats_soft: int = 0
    engine: Mapping[str, Any] | None = None
    start_markers: bool = True
    warm_start: bool = False
    grace_period: float = 30.0
    task_timeout: float = 0.0
    notes: tuple[str, ...] = ()
    document: Mapping[str, Json] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedConfig:
    """What a template gives for one user configuration: the engine, and what it may say beside it."""

    engine: Mapping[str, Any]
    allowed_functions: tuple[str, ...] | None = None
    idle_heartbeats_soft: int | None = None
    notes: tuple[str, ...] = ()


def read_config(text: str, name: str = FILE_NAME) -> EndpointConfig:
    """Read and check ``config.yaml``.

    Raises:
        ConfigError: with what would be right.
    """
    source = YamlText(text, name)
    values, notes = _checked(source, _KEYS)
    return EndpointConfig(**values, notes=notes, document=source.document, text=text)


def read_rendered(text: str, name: str) -> RenderedConfig:
    """Read and check what a template was rendered to.

    Raises:
        ConfigError: with what would be right.
    """
    source = YamlText(text, name)
    values, notes = _checked(source, _RENDERED_KEYS)
    if "engine" not in values:
        raise ConfigError(f"{name} has no 'engine'; it needs one, such as 'engine: {{type: thread}}'")
    return RenderedConfig(
        engine=values["engine"],
        allowed_functions=values.get("allowed_functions"),
        idle_heartbeats_soft=values.get("idle_heartbeats_soft"),
        notes=notes,
    )


_Check = Callable[[YamlText, str, Any], Any]


def _checked(source: YamlText, keys: Mapping[str, _Check]) -> tuple[dict[str, Any], tuple[str, ...]]:
    text_keys(source.document, source)
    values: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in source.document.items():
        if key in _GUARDS:
            if value not in (None, False):
                raise ConfigError(f"{source.where(key)} cannot be kept by this agent; {_GUARDS[key]}")
        elif key in keys:
            if value is not None:
                values[key] = keys[key](source, key, value)
        elif key in _IGNORED:
            notes.append(f"{source.where(key)} has no meaning here and is ignored")
        else:
            allowed = ", ".join(sorted(keys))
            near = near_name(key, keys)
            hint = f"; known are {allowed}" if near is None else f"; did you mean {near!r}?"
            raise ConfigError(f"{source.where(key)} is not a key of an endpoint's configuration{hint}")
    return values, tuple(notes)


def _text(source: YamlText, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be text, in quotes if need be")
    if len(value) > 4096 or not value.replace("\n", "").isprintable():
        raise ConfigError(f"{source.where(key)} must be printable text of at most 4096 characters")
    return value


def _flag(source: YamlText, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be true or false")
    return value


def _seconds(source: YamlText, key: str, value: Any) -> float:
    least = _LEAST_HEARTBEAT_S if key == "heartbeat_period" else 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 86_400:
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be a number of seconds from {least:g} to 86400")
    return float(value)


def _count(source: YamlText, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be a whole number, 0 or more")
    return value


def _function_ids(source: YamlText, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be a list of function ids")
    ids: list[str] = []
    for index, one in enumerate(value):
        normal = normal_uuid(one) if isinstance(one, str) else None
        if normal is None:
            raise ConfigError(f"{source.where(key, str(index))} is {one!r}; it must be the UUID of a function")
        ids.append(normal)
    return tuple(ids)


def _users(source: YamlText, key: str, value: Any) -> tuple[str, ...] | str:
    if value == ALL_AUTHENTICATED_USERS:
        return ALL_AUTHENTICATED_USERS
    wanted = f"a list of identity or group URNs, or {ALL_AUTHENTICATED_USERS}"
    if not isinstance(value, list):
        raise ConfigError(f"{source.where(key)} is {value!r}; it must be {wanted}")
    urns: list[str] = []
    for index, one in enumerate(value):
        identity = normal_uuid(one) if isinstance(one, str) else None
        urn = identity_urn(identity) if identity else one
        if not isinstance(urn, str) or not is_identity_or_group(urn):
            raise ConfigError(
                f"{source.where(key, str(index))} is {one!r}; it must be a URN such as {identity_urn('<uuid>')}"
            )
        urns.append(urn)
    return tuple(urns)


def _engine(source: YamlText, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise ConfigError(f"{source.where(key)} must be a block with at least a 'type', such as {{type: thread}}")
    if value.get("start_markers") is False:
        text = (
            "cannot be switched off here; set 'start_markers: false' at the root of config.yaml, which recovery reads"
        )
        raise ConfigError(f"{source.where(key, 'start_markers')} {text}")
    return value


_KEYS: dict[str, _Check] = {
    "display_name": _text,
    "description": _text,
    "public": _flag,
    "allowed_functions": _function_ids,
    "users": _users,
    "heartbeat_period": _seconds,
    "idle_heartbeats_soft": _count,
    "engine": _engine,
    "start_markers": _flag,
    "warm_start": _flag,
    "grace_period": _seconds,
    "task_timeout": _seconds,
}
_RENDERED_KEYS: dict[str, _Check] = {
    "display_name": _text,
    "allowed_functions": _function_ids,
    "heartbeat_period": _seconds,
    "idle_heartbeats_soft": _count,
    "engine": _engine,
}

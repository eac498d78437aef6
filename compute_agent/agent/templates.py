"""``user_config_template.yaml.j2``: what a submitter's ``user_endpoint_config`` makes of the engine.

The template is the facility's and is trusted; the values are strangers'. Each text of theirs goes in as a quoted YAML
scalar on one line, so that no newline, quote, ``{{`` or ``&a`` of it can become anything but text.
"""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import jsonschema
import referencing
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment
from jsonschema.validators import validator_for

from schemas.json_text import Json, dumps_sorted
from schemas.principals import identity_of

from .config import RenderedConfig, read_rendered
from .yaml_text import MAX_CHARS, ConfigError

FILE_NAME = "user_config_template.yaml.j2"
SCHEMA_NAME = "user_config_schema.json"
#: Names of a template that no submitter may give a value.
RESERVED = frozenset({"_GC", "parent_config", "user_runtime", "mapped_identity"})

_MAX_CONFIG_BYTES = 64 * 1024
_MAX_PROBLEMS = 5
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_SPECIAL = re.compile(r'["\\]|[^ -~]')
_SHELL_SPECIAL = re.compile(r"[^\w./=,+@%]")
_MOST_REPEATED = 10_000


class UserConfigRefused(Exception):
    """A ``user_endpoint_config`` that this endpoint does not take. The text is for the submitter.

    ``is_for_submitter`` is False when no other ``user_endpoint_config`` would help: the template itself is wrong.
    """

    def __init__(self, text: str, *, is_for_submitter: bool = True) -> None:
        super().__init__(text)
        self.is_for_submitter = is_for_submitter


class _Quoted(str):
    """A submitter's text, as a YAML scalar in double quotes; ``plain`` is what was submitted."""

    plain: str

    @classmethod
    def of(cls, text: str) -> _Quoted:
        made = cls(quoted(text))
        made.plain = text
        return made


class _Sandbox(SandboxedEnvironment):
    """The sandbox of Jinja, in which nothing can be blown up by a submitter's number either."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = [one for one in (left, right) if isinstance(one, int | float)]
        if operator == "**" and any(abs(one) > 64 for one in numbers):
            raise SecurityError("a power of numbers beyond 64 is not computed")
        if operator == "*" and len(numbers) == 1 and numbers[0] > _MOST_REPEATED:
            raise SecurityError(f"a text is not repeated more than {_MOST_REPEATED} times")
        return super().call_binop(context, operator, left, right)


class UserTemplate:
    """A template with its schema, checked: what it is rendered to for a submitter.

    Raises:
        ConfigError: the template or the schema cannot be used.
    """

    def __init__(
        self,
        source: str,
        *,
        schema: Json = None,
        parent_config: Mapping[str, Json] | None = None,
        name: str = FILE_NAME,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._name = name
        self._reserved = {
            "parent_config": dict(parent_config or {}),
            "user_runtime": {},
            "env": dict(environ),
        }
        self._local_user = _local_user()
        self._validator = _validator(schema)
        # Safe without autoescape: what comes out is YAML, and every text of a submitter is quoted for YAML.
        sandbox = _Sandbox(undefined=jinja2.StrictUndefined, finalize=_written, autoescape=False)
        sandbox.filters["shell_escape"] = _shell_escape
        if len(source) > MAX_CHARS:
            raise ConfigError(f"{name} has {len(source)} characters; at most {MAX_CHARS} are read")
        try:
            self._template = sandbox.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"{name}, line {error.lineno}: {error.message}") from error

    def render(self, user_config: Mapping[str, Json], *, owner: str = "") -> RenderedConfig:
        """What this endpoint is for one submitter (``owner``, a URN) and one ``user_endpoint_config``.

        Raises:
            UserConfigRefused: with a sentence for the submitter.
        """
        self._check(user_config)
        identity = {"local": self._local_user, "globus": {"id": identity_of(owner) or ""}}
        reserved = {**self._reserved, "mapped_identity": identity}
        values = {name: _safe(value, name) for name, value in user_config.items()}
        try:
            text = self._template.render(values, _GC=reserved, **{one: reserved[one] for one in RESERVED - {"_GC"}})
        except jinja2.UndefinedError as error:
            raise UserConfigRefused(
                f"the endpoint's template needs something that user_endpoint_config does not give: {error.message}"
            ) from error
        except SecurityError as error:
            raise UserConfigRefused(f"the endpoint's template does not allow that: {error}") from error
        except Exception as error:  # a template runs arbitrary expressions over a stranger's values
            raise UserConfigRefused(
                f"the endpoint's template failed on this user_endpoint_config: {type(error).__name__}: {error}"
            ) from error
        try:
            return read_rendered(text, f"{self._name} as rendered")
        except ConfigError as error:
            raise UserConfigRefused(
                f"the endpoint's template gives no usable configuration: {error}", is_for_submitter=bool(user_config)
            ) from error

    def _check(self, user_config: Mapping[str, Json]) -> None:
        if len(canonical(user_config).encode()) > _MAX_CONFIG_BYTES:
            raise UserConfigRefused(f"user_endpoint_config is larger than the limit of {_MAX_CONFIG_BYTES} bytes")
        for name in user_config:
            if name in RESERVED:
                raise UserConfigRefused(f"user_endpoint_config may not set {name!r}: the name is reserved")
        if self._validator is None:
            return
        try:
            errors = sorted(self._validator.iter_errors(dict(user_config)), key=lambda one: list(map(str, one.path)))
        except (referencing.exceptions.Unresolvable, RecursionError, re.error) as error:
            raise UserConfigRefused(f"the endpoint's {SCHEMA_NAME} cannot be applied: {error}") from error
        if errors:
            shown = "; ".join(_problem(one) for one in errors[:_MAX_PROBLEMS])
            more = f"; and {len(errors) - _MAX_PROBLEMS} more" if len(errors) > _MAX_PROBLEMS else ""
            raise UserConfigRefused(f"the endpoint's schema refuses this user_endpoint_config: {shown}{more}")


def canonical(user_config: Mapping[str, Json]) -> str:
    """The same text for equal configurations.

    Raises:
        UserConfigRefused: it holds something that is not JSON, such as half a character.
    """
    try:
        return dumps_sorted(dict(user_config))
    except TypeError as error:
        raise UserConfigRefused(f"user_endpoint_config is not JSON: {error}") from error


def quoted(text: str) -> str:
    """The text as one YAML scalar in double quotes, of printable ASCII alone; JSON's form wherever YAML knows it too."""
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == 0x7F:
        return "\\x7f"
    return json.dumps(found[0])[1:-1] if code < 0x10000 else f"\\U{code:08x}"


def _safe(value: Json, place: str) -> Any:
    """The value with every text quoted. Keys become names of YAML too, so they must look like names."""
    if isinstance(value, str):
        return _Quoted.of(value)
    if isinstance(value, dict):
        for key in value:
            if not _NAME.fullmatch(key):
                raise UserConfigRefused(
                    f"user_endpoint_config.{place} has the key {key[:64]!r}; keys are letters, digits, '_', '-' and '.'"
                )
        return {key: _safe(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_safe(item, f"{place}[{index}]") for index, item in enumerate(value)]
    return value


def _written(value: Any) -> Any:
    """How a value appears where the template names it: as YAML, in flow style."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(str(key))}: {_part(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_part, value)) + "]"
    return value


def _part(value: Any) -> str:
    """A value inside a list or mapping; a text of the template's own is quoted there."""
    if isinstance(value, str) and not isinstance(value, _Quoted):
        return quoted(value)
    return str(_written(value))


def _shell_escape(value: Any) -> str:
    """The value as one word of a shell, by backslashes rather than quotes, which YAML would take for its own."""
    text = value.plain if isinstance(value, _Quoted) else str(value)
    if not text.isprintable():
        raise SecurityError(
            "a value that becomes a word of a shell command may not hold line breaks or control characters"
        )
    return _SHELL_SPECIAL.sub(r"\\\g<0>", text) or "''"


def _validator(schema: Json) -> Any:
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise ConfigError(f"{SCHEMA_NAME} must hold a JSON object, a JSON Schema")
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.path))
        raise ConfigError(f"{SCHEMA_NAME} is not a JSON Schema: at /{place}: {error.message}") from error
    return kind(schema, registry=referencing.Registry())  # an empty registry: nothing is ever fetched


def _problem(error: Any) -> str:
    place = ".".join(map(str, error.path))
    text = str(error.message)[:300]
    return f"{place}: {text}" if place else text


def _local_user() -> dict[str, Json]:
    uid = os.getuid()
    facts: dict[str, Json] = {"uid": uid, "gid": os.getgid(), "groups": os.getgroups()}
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return {**facts, "uname": str(uid), "gecos": "", "shell": "", "dir": os.environ.get("HOME", "")}
    return {**facts, "uname": entry.pw_name, "gecos": entry.pw_gecos, "shell": entry.pw_shell, "dir": entry.pw_dir}

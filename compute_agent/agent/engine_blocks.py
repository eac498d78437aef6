"""Which engine a task wants: the block of ``config.yaml``, or what the template makes of its ``user_endpoint_config``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from schemas.json_text import Json, loads_trusted

from .config import EndpointConfig, RenderedConfig
from .templates import UserConfigRefused, UserTemplate, canonical

_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine that the agent may run. Tasks with an equal ``key`` share it. ``idle_heartbeats`` is after how many
    heartbeats without work it is ended, 0 for never."""

    key: str
    block: Mapping[str, Any]
    allowed_functions: frozenset[str] | None
    idle_heartbeats: int
    is_default: bool


class EngineBlocks:
    """What ``config.yaml`` and the template say, asked per task."""

    def __init__(self, config: EndpointConfig, template: UserTemplate | None) -> None:
        self._config = config
        self._template = template
        self._default_key = ""
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._rendered)

    def default(self) -> EngineSpec:
        """The engine of a task without a ``user_endpoint_config``.

        Raises:
            UserConfigRefused: the template cannot do without one.
        """
        spec = self.for_task({}, owner="")
        self._default_key = spec.key
        self._remembered.cache_clear()  # what was remembered did not know that it is the default
        return self.for_task({}, owner="")

    def for_task(self, user_config: Mapping[str, Json], *, owner: str) -> EngineSpec:
        """Raises:
        UserConfigRefused: with a sentence for the submitter.
        """
        return self._remembered(canonical(user_config), owner)

    def _rendered(self, user_config: str, owner: str) -> EngineSpec:
        wanted = loads_trusted(user_config)
        if self._template is not None:
            return self._spec(self._template.render(wanted, owner=owner))
        if wanted:
            raise UserConfigRefused(
                "this endpoint has no template, so it takes no user_endpoint_config; submit without one"
            )
        assert self._config.engine is not None, "a configuration without a template has an engine"
        return self._spec(RenderedConfig(engine=self._config.engine))

    def _spec(self, rendered: RenderedConfig) -> EngineSpec:
        allowed = self._config.allowed_functions
        if allowed is None:  # the endpoint's own list overrules the template's
            allowed = rendered.allowed_functions
        key = hashlib.sha256(repr(_sorted(rendered.engine)).encode()).hexdigest()[:16]
        is_default = key == self._default_key
        idle = rendered.idle_heartbeats_soft
        if idle is None:
            idle = self._config.idle_heartbeats_soft
        return EngineSpec(
            key=key,
            block=rendered.engine,
            allowed_functions=None if allowed is None else frozenset(allowed),
            idle_heartbeats=idle,
            is_default=is_default,
        )


def _sorted(value: Any) -> Any:
    """Equal for blocks that mean the same; keys and texts keep their types."""
    if isinstance(value, dict):
        return sorted(((str(key), _sorted(item)) for key, item in value.items()), key=lambda pair: pair[0])
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value

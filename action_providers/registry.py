"""Which providers this server has: the built-in ones, and those that installed packages offer by entry point.

A third party registers a class without constructor arguments:
``[project.entry-points.action_providers]  my_tool = "my_package:MyTool"``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from .expression_eval import Evaluate, ExpressionEval
from .hello_world import HelloWorld
from .provider import ActionProvider, Description

log = logging.getLogger(__name__)

GROUP = "action_providers"

_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*", re.ASCII)
#: Last parts of a path that would shadow an operation.
_RESERVED = frozenset(("run", "status", "cancel", "resume", "release", "log", "actions"))


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """An entry point that gives no provider: its name, what it points to, and why."""

    name: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"action provider {self.name!r} ({self.value}) cannot be loaded: {self.reason}"


@dataclass(frozen=True, slots=True)
class Discovered:
    providers: tuple[ActionProvider, ...]
    problems: tuple[LoadProblem, ...]


def built_in(*, evaluate: Evaluate) -> tuple[ActionProvider, ...]:
    """The providers that need nothing but an evaluator of expressions."""
    return HelloWorld(), ExpressionEval(evaluate)


def discover(candidates: Iterable[EntryPoint] | None = None) -> Discovered:
    """Load every registered class. One that fails does not hinder the others: it is logged and returned by name."""
    providers: list[ActionProvider] = []
    problems: list[LoadProblem] = []
    for point in entry_points(group=GROUP) if candidates is None else candidates:
        try:
            providers.append(_load(point))
        except Exception as error:  # a foreign package may raise anything when it is imported
            problem = LoadProblem(point.name, point.value, f"{type(error).__name__}: {error}")
            log.error("%s", problem, exc_info=error)
            problems.append(problem)
    return Discovered(tuple(providers), tuple(problems))


def by_path(providers: Iterable[ActionProvider]) -> dict[str, ActionProvider]:
    """Providers under the path of their description.

    Raises:
        ValueError: for a description that cannot be served, and for two providers with one path.
    """
    found: dict[str, ActionProvider] = {}
    for provider in providers:
        name = type(provider).__name__
        description = provider.description
        if wrong := _wrong(description):
            raise ValueError(f"the description of {name} cannot be served: {wrong}")
        if (other := found.get(description.path)) is not None:
            raise ValueError(f"{name} and {type(other).__name__} both have the path {description.path!r}")
        found[description.path] = provider
    return found


def _load(point: EntryPoint) -> ActionProvider:
    offered = point.load()
    provider = offered() if isinstance(offered, type) else offered
    if not isinstance(provider, ActionProvider):
        raise TypeError(f"{point.value} is not a subclass of action_providers.provider.ActionProvider")
    by_path([provider])
    return provider


def _wrong(description: object) -> str | None:
    if not isinstance(description, Description):
        return "it has no description = Description(...)"
    if not _PATH.fullmatch(description.path) or len(description.path) > 128:
        return f"the path {description.path!r} must be lower-case words joined by '/', such as my_tool/convert"
    if description.path.rpartition("/")[2] in _RESERVED:
        return f"the path {description.path!r} ends in a word that names an operation of the API"
    if not 0 < len(description.title) <= 128:
        return "the title must have 1 to 128 characters"
    if len(description.subtitle) > 128 or len(description.description) > 4096:
        return "a subtitle has at most 128 characters and a description at most 4096"
    if not description.scope:
        return "the scope is empty"
    return None

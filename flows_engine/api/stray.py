"""Requests that no route takes. Every service has views for them, whose endpoints are called ``stray...``.

Those views would make each path look as if it took every method; what it really takes is told here.
"""

from __future__ import annotations

from flask import Flask, current_app, request
from werkzeug.routing import Map

PREFIX = "stray"


def allowed_methods() -> list[str]:
    """Methods of the route at the request's path; empty when there is none."""
    allowed = _routes(current_app).bind("").allowed_methods(request.path)
    return sorted({*allowed, "OPTIONS"}) if allowed else []


def _routes(app: Flask) -> Map:
    """The app's routes without the stray ones; made once an app."""
    key = f"{__name__}.routes"
    if key not in app.extensions:
        named = ((rule, rule.endpoint.rpartition(".")[2]) for rule in app.url_map.iter_rules())
        rules = [rule.empty() for rule, name in named if not name.startswith(PREFIX)]
        app.extensions[key] = Map(rules, converters=app.url_map.converters)
    routes = app.extensions[key]
    assert isinstance(routes, Map)
    return routes


#: Services of Globus that official clients look for here and that come with later versions, by the start of their paths.
_TO_COME = {"timer": "Timers", "transfer": "Transfer", "search": "Search", "groups": "Groups"}


def service_to_come(path: str) -> str | None:
    """The name of the service that a path would belong to, where this version does not have it."""
    return _TO_COME.get(path.split("/")[1] if "/" in path else "")

"""The front door of the server: what every request passes, and the few pages that belong to no service.

A request must name a host that this server is known by, so that a web page elsewhere cannot reach a server on loopback by
pointing its own name there (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def allowed_hosts(base_url: str, host: str, port: int) -> frozenset[str]:
    """Values of the Host header that are ours."""
    named = urlsplit(base_url)
    hosts = {named.netloc.lower(), named.hostname or "", f"{host}:{port}", host}
    for name in _LOOPBACK:
        hosts |= {name, f"{name}:{port}"}
    return frozenset(hosts)


def install(
    app: Flask, *, hosts: frozenset[str], services: Mapping[str, str], is_ready: Callable[[], str | None]
) -> None:
    """Add the checks and pages. ``is_ready`` gives the reason why not, or None."""

    @app.before_request
    def known_host() -> Response | None:
        if request.host.lower() in hosts:
            return None
        answer = jsonify(
            error={"code": "UNKNOWN_HOST", "detail": f"this server is not known as {request.host[:128]!r}"}
        )
        answer.status_code = 421
        return answer

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Frame-Options", "DENY")
        return response

    @app.get("/")
    def index() -> Response:
        return jsonify(name="flows-engine", services=dict(services))

    @app.get("/healthz")
    def health() -> Response:
        return jsonify(status="ok")

    @app.get("/readyz")
    def ready() -> Response:
        reason = is_ready()
        answer = jsonify(status="ok" if reason is None else reason)
        answer.status_code = 200 if reason is None else 503
        return answer

    @app.errorhandler(404)
    def nothing_here(_error: Exception) -> tuple[Response, int]:
        detail = f"nothing is at {request.path[:256]!r}; the services are at {', '.join(services.values())}"
        return jsonify(error={"code": "NOT_FOUND", "detail": detail}), 404

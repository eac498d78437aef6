"""The front door of the server: what every request passes, and the few pages that belong to no service.

A request must name a host that this server is known by, so that a web page elsewhere cannot reach a server on loopback by
pointing its own name there (DNS rebinding).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from flows_engine import __version__

from . import stray, welcome
from .error_documents import error_document

log = logging.getLogger(__name__)

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
        named = request.headers.get("Host", "")[:128]
        return _error(
            421, "UNKNOWN_HOST", f"This server is not known as {named!r}; its name is set by FLOWS_PUBLIC_URL"
        )

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Frame-Options", "DENY")
        return response

    @app.get("/")
    def index() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
            return jsonify(name="flows-engine", version=__version__, services=dict(services))
        answer = Response(welcome.page(__version__, services), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = welcome.POLICY
        return answer

    @app.get("/healthz")
    def health() -> Response:
        return jsonify(status="ok")

    @app.get("/readyz")
    def ready() -> Response:
        reason = is_ready()
        answer = jsonify(status="ok" if reason is None else reason)
        answer.status_code = 200 if reason is None else 503
        return answer

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        """A path of no service, and methods that no route of a service knows by name."""
        status, code, allowed = error.code or 500, error.name, stray.allowed_methods()
        if status == 405 and not allowed:
            status, code = 404, "Not Found"
        if status == 404 and (service := stray.service_to_come(request.path)):
            return _not_here_yet(service)
        if status == 404:
            sentence = f"There is nothing at {request.path[:200]!r}; the services are at {', '.join(services.values())}"
        elif status == 405:
            sentence = f"{request.method[:40]} is not possible here; allowed: {', '.join(allowed)}"
        else:
            sentence = error.description or error.name
        answer = _error(status, code.upper().replace(" ", "_"), sentence)
        if status == 405:
            answer.headers["Allow"] = ", ".join(allowed)
        return answer

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        answer = _error(500, "INTERNAL_ERROR", "The service failed on this request; tell its operator the debug_id")
        extra = {"debug_id": answer.get_json()["debug_id"], "path": request.path}
        log.error("request failed", exc_info=error, extra=extra)
        return answer


def database_trouble(error: Exception) -> Response:
    """503 while the database is away, 507 when its disk is full: nothing is wrong with the request. Every blueprint has
    this as handler of ``DATABASE_TROUBLE``, because its own handler of other exceptions goes before the app's."""
    log.warning("the database is not available: %s", error, extra={"path": request.path})
    if "disk is full" in str(error):
        return _error(507, "INSUFFICIENT_STORAGE", "There is no room to store this; free some disk and send it again")
    answer = _error(503, "SERVICE_UNAVAILABLE", "The database is not available at the moment; try again")
    answer.headers["Retry-After"] = "2"
    return answer


def _not_here_yet(service: str) -> Response:
    """In the error shapes of all those services at once, so that each one's client shows the sentence."""
    sentence = f"The {service} service is not part of this version of flows-engine"
    document = error_document("/", 404, "NOT_FOUND", sentence)
    document |= {"code": "NotFound", "message": sentence, "detail": sentence, "request_id": document["debug_id"]}
    answer = jsonify(document)
    answer.status_code = 404
    return answer


def _error(status: int, code: str, detail: str) -> Response:
    answer = jsonify(error_document(request.path, status, code, detail))
    answer.status_code = status
    return answer

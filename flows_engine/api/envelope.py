"""The Flows API's way of answering: one error document for everything that goes wrong, and strict reading of bodies.

``{"error": {"code", "detail", "message"?}, "debug_id"}`` with a JSON content type, whatever happens below the mount:
unknown route, wrong method, broken body, our own fault. The official CLI fails on any other error document.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import Json, loads
from schemas.request_headers import check_json_body

from . import stray

log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "OPTIONS")


def answer(document: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. Documents are a caller's own view, so nobody may keep them."""
    response = Response(orjson.dumps(document), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def error_answer(error: ServiceError) -> Response:
    """The error document. ``extra`` stands at its root, where clients look for ``authorization_parameters``."""
    detail = error.detail if isinstance(error.detail, str) else [problem.to_json() for problem in error.detail]
    body: dict[str, Any] = {"code": error.code, "detail": detail}
    if error.message is not None:
        body["message"] = error.message
    headers = dict(error.headers)
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return answer({**error.extra, "error": body, "debug_id": str(uuid.uuid4())}, error.status, headers)


def read_json(most_bytes: int) -> Json:
    """The request's body: JSON, UTF-8, not compressed, bounded before it is parsed.

    Raises:
        ServiceError: 413 or 415; or what ``schemas.json_text`` found wrong with the text.
    """
    check_json_body(
        request.mimetype,
        charset=request.mimetype_params.get("charset", "utf-8"),
        encoding=request.headers.get("Content-Encoding", "identity"),
    )
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes)
    raw = request.stream.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise _too_large(most_bytes)
    if not raw.strip():
        raise ServiceError(400, "BAD_JSON", "The request has no body; a JSON object is expected")
    try:
        return loads(raw)
    except InvalidJson as error:
        raise ServiceError(error.status, error.code, f"{error.detail[:1].upper()}{error.detail[1:]}") from error


def install(blueprint: Blueprint) -> None:
    """Make every answer of the blueprint an envelope, also for paths below it that are not routes."""
    blueprint.register_error_handler(ServiceError, error_answer)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.register_error_handler(Exception, _own_fault)
    blueprint.before_request(_options)
    for rule in ("/", "/<path:rest>"):
        blueprint.add_url_rule(
            rule, endpoint=stray.PREFIX, view_func=_stray, methods=_METHODS, provide_automatic_options=False
        )


def _too_large(most_bytes: int) -> ServiceError:
    return ServiceError(413, "TOO_LARGE", f"The request body is larger than the limit of {most_bytes} bytes")


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code = (error.name or "error").upper().replace(" ", "_")
    response = error_answer(ServiceError(status, code, error.description or code))
    if error.response is not None:
        return response
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _own_fault(error: Exception) -> Response:
    response = error_answer(
        ServiceError(500, "INTERNAL_ERROR", "The service failed on this request; tell its operator the debug_id")
    )
    debug_id = orjson.loads(response.get_data())["debug_id"]
    log.error("request failed", exc_info=error, extra={"debug_id": debug_id, "route": str(request.url_rule)})
    return response


def _options() -> Response | None:
    """Answers OPTIONS for every route: Flask's own answer would list what the stray rule takes."""
    if request.method == "OPTIONS" and (methods := stray.allowed_methods()):
        return Response(status=204, headers={"Allow": ", ".join(methods)})
    return None


def _stray(rest: str = "") -> Response:  # noqa: ARG001 - the path is read from the request, as the client wrote it
    """A path that is no route, or a route that does not take this method."""
    if methods := stray.allowed_methods():
        raise ServiceError(
            405,
            "METHOD_NOT_ALLOWED",
            f"{request.method} is not possible here; allowed: {', '.join(methods)}",
            headers={"Allow": ", ".join(methods)},
        )
    raise ServiceError(404, "NOT_FOUND", f"There is nothing at {request.path[:200]}")

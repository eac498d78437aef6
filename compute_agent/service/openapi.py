"""The Compute API's own description: ``openapi.json``, and a page to read and try it at ``docs``.

The document is written by hand in ``schemas/openapi/compute.yaml``; a test holds it against the routes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from flask import Blueprint, Response
from flask_swagger_ui import get_swaggerui_blueprint

from schemas.json_text import dumps


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document; ``servers`` names the mount of the default installation."""
    loaded: dict[str, Any] = yaml.safe_load((files("schemas") / "openapi" / "compute.yaml").read_bytes())
    return loaded


def add_routes(blueprint: Blueprint, mount: str) -> None:
    """Serve the document and its page below the blueprint, which is mounted at ``mount``."""

    @blueprint.get("/openapi.json")
    def openapi_document() -> Response:
        text = dumps({**document(), "servers": [{"url": mount}]})
        return Response(text, content_type="application/json")

    pages = get_swaggerui_blueprint(
        f"{mount}/docs",
        f"{mount}/openapi.json",
        config={"app_name": "Compute API"},
        blueprint_name="compute_docs",
    )
    blueprint.register_blueprint(pages, url_prefix="/docs")

"""Everything about an endpoint that can be wrong, checked before the service hears of it."""

from __future__ import annotations

import os
import platform
import pwd
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from schemas import json_text
from schemas.errors import InvalidJson
from schemas.json_text import Json

from ..engines.base import EngineConfigError
from .config import EndpointConfig, read_config
from .directory import EndpointDirectory
from .engine_blocks import EngineBlocks
from .engine_pool import MakeEngine
from .templates import UserConfigRefused, UserTemplate
from .yaml_text import ConfigError, YamlText


@dataclass(frozen=True, slots=True)
class Prepared:
    """An endpoint that may be started. ``document`` is the registration; ``default_engine`` its type, empty when the
    template needs a submitter's configuration; ``notes`` are remarks for its owner."""

    config: EndpointConfig
    blocks: EngineBlocks
    document: Mapping[str, Json]
    default_engine: str
    notes: tuple[str, ...]


def prepare(directory: EndpointDirectory, make_engine: MakeEngine, *, environ: MutableMapping[str, str]) -> Prepared:
    """Read and check an endpoint's files; its variables are put into ``environ``.

    Raises:
        ConfigError: the text names the file, the place and what would be right.
    """
    environ.update(_environment(directory.environment))
    text = _text(directory.config)
    config = read_config(text, str(directory.config))
    template_text = _text(directory.template) if directory.template.exists() else None
    schema = _schema(directory.schema)
    if (template_text is None) == (config.engine is None):
        if template_text is None:
            what = f"has no 'engine', and there is no {directory.template.name}; one of the two says how tasks run"
        else:
            what = (
                f"has an 'engine', and so has {directory.template.name}: delete {directory.template} if the engine is to "
                "be the same for everybody, or take it out of the configuration"
            )
        raise ConfigError(f"{directory.config} {what}")
    template = None
    if template_text is not None:
        template = UserTemplate(
            template_text,
            schema=schema,
            parent_config=config.document,
            name=directory.template.name,
            environ=dict(environ),
        )
    blocks = EngineBlocks(config, template)
    engine_type, notes = _check_default(blocks, directory, make_engine)
    document = _document(directory.name, config, template_text, schema)
    return Prepared(config, blocks, document, engine_type, (*config.notes, *notes))


def _check_default(
    blocks: EngineBlocks, directory: EndpointDirectory, make_engine: MakeEngine
) -> tuple[str, tuple[str, ...]]:
    """The type of the default engine, checked option by option."""
    try:
        spec = blocks.default()
    except UserConfigRefused as error:
        if not error.is_for_submitter:
            raise ConfigError(str(error)) from error
        return "", (f"without a user_endpoint_config nothing can run here: {error}",)
    try:
        make_engine(spec.block, run_dir=directory.run_dir / "engines" / spec.key)
    except EngineConfigError as error:
        where = directory.template if directory.template.exists() else directory.config
        raise ConfigError(f"{where}: {error}") from error
    return str(spec.block["type"]), ()


def _document(name: str, config: EndpointConfig, template: str | None, schema: Json) -> dict[str, Json]:
    """The published registration document, with ``users`` of ours."""
    users = config.users if isinstance(config.users, str) else list(config.users)
    metadata: dict[str, Json] = {
        "endpoint_version": _version(),
        "python_version": platform.python_version(),
        "hostname": socket.gethostname(),
        "local_user": _local_user(),
        "endpoint_config": config.text,
    }
    if template is not None:
        metadata["user_config_template"] = template
    if schema is not None:
        metadata["user_config_schema"] = schema
    document: dict[str, Json] = {
        "endpoint_name": name,
        "display_name": config.display_name or name,
        "multi_user": False,
        "metadata": metadata,
    }
    if config.description:
        document["description"] = config.description
    if config.public:
        document["public"] = True
    if config.allowed_functions is not None:
        document["allowed_functions"] = list(config.allowed_functions)
    if users:
        document["users"] = users
    return document


def _environment(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    source = YamlText(_text(path), str(path))
    variables: dict[str, str] = {}
    for name, value in source.document.items():
        if not isinstance(name, str) or "=" in name or not name:
            raise ConfigError(f"{path}: {name!r} is not the name of a variable")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"{source.where(name)} is {value!r}; it must be text, in quotes if need be")
        if "\0" in str(value):
            raise ConfigError(f"{source.where(name)} holds a NUL character")
        variables[name] = str(value)
    return variables


def _schema(path: Path) -> Json:
    if not path.exists():
        return None
    try:
        return json_text.loads(_text(path), what=str(path))
    except InvalidJson as error:
        raise ConfigError(error.detail) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _version() -> str:
    try:
        return version("flows-engine")
    except PackageNotFoundError:
        return "0"


def _local_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())

"""Whom an agent signs in as, and at which server: ``credentials.json`` of the endpoint, else this installation's own.

Secrets come from a terminal, standard input or the environment, never from the command line, where every user of the
machine can read them. The environment is cleared of them before anything of a user's runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schemas import json_text
from schemas.errors import InvalidJson

from ..connection import Http
from ..errors import ClientError, UnreachableError
from ..local_server import credentials as local_credentials
from ..local_server import default_data_dir, find_server
from ..private_files import read_private_file, replace_private_file
from .yaml_text import ConfigError

SECRET_VARIABLE = "FLOWS_CLIENT_SECRET"  # noqa: S105 - the name of a variable
TOKEN_VARIABLE = "FLOWS_TOKEN"  # noqa: S105 - the name of a variable


class NoServer(Exception):
    """This installation's server is not up, and no other is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Either a client's id and secret, or a token. ``data_dir`` is that of the local installation, where its server is
    looked up before each call: it may come back at another port, and its old one may be somebody else's by then."""

    url: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    data_dir: Path | None = None

    def connect(self) -> Http:
        find = None if self.data_dir is None else partial(_address, self.data_dir)
        return Http(self.url, client_id=self.client_id, client_secret=self.client_secret, token=self.token, find=find)

    def write(self, path: Path) -> None:
        members = {
            "url": self.url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "token": self.token,
        }
        document = {name: value for name, value in members.items() if value}
        replace_private_file(path, json_text.dumps(document).encode() + b"\n")


def load(path: Path) -> Credentials:
    """What the endpoint's file says, or the local installation's when there is none.

    Raises:
        ConfigError: the file cannot be used.
        NoServer: there is no file, and no server is up.
        NoCredentialsError, PermissionError: of the local installation's files.
    """
    raw = read_private_file(path)
    if raw is None:
        return _local()
    wanted = f'{path} must hold {{"url", "client_id", "client_secret"}} or {{"url", "token"}}'
    try:
        document = json_text.loads(raw, what=str(path))
    except InvalidJson as error:
        raise ConfigError(f"{wanted}: {error.detail}") from error
    if not isinstance(document, dict):
        raise ConfigError(wanted)
    if unknown := set(document) - {"url", "client_id", "client_secret", "token"}:
        raise ConfigError(f"{wanted}; it also has {', '.join(sorted(unknown))}")
    if wrong := [name for name, value in document.items() if not isinstance(value, str)]:
        raise ConfigError(f"{wanted}; the value of {wrong[0]} must be text, in quotes")
    if "url" not in document or not (document.get("token") or document.get("client_secret")):
        raise ConfigError(wanted)
    who = Credentials(**document)
    try:
        who.connect().close()
    except ClientError as error:
        raise ConfigError(f"{path}: {error}") from error
    return who


def _local() -> Credentials:
    data_dir = default_data_dir()
    server = find_server(data_dir)
    if server is None:
        raise NoServer(
            f"no server of {data_dir} is up: start it with 'flows serve', or name another server with"
            " 'compute-agent configure NAME --url URL --client-id ID'"
        )
    client_id, client_secret = local_credentials(data_dir)
    return Credentials(url=server.url, client_id=client_id, client_secret=client_secret, data_dir=data_dir)


def _address(data_dir: Path) -> str:
    server = find_server(data_dir)
    if server is None:
        raise UnreachableError(f"no server of {data_dir} is up")
    return server.url


def ask_secret(what: str, variable: str, *, prompt: Callable[[str], str]) -> str:
    """A secret from the environment, a terminal, or the first line of standard input."""
    if found := os.environ.get(variable):
        return found
    if sys.stdin.isatty():
        return prompt(what)
    return sys.stdin.readline().strip()


def clear_secrets(environ: MutableMapping[str, str]) -> None:
    """Keep tasks from finding in their environment what was meant for the agent."""
    for name in (SECRET_VARIABLE, TOKEN_VARIABLE):
        environ.pop(name, None)

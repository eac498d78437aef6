"""Which server a client without arguments speaks to, and as whom.

A secret that was meant for one server is never sent to another that merely runs on this machine: the local
installation's own credentials are used there, unless the caller names others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..local_server import NoCredentialsError, credentials, default_data_dir, find_server
from .errors import NoServerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A server and who speaks: a token, or a client's id and secret."""

    url: str
    token: str = ""
    client_id: str = ""
    client_secret: str = ""

    def __repr__(self) -> str:
        return f"Access({self.url!r})"


def locate(
    url: str | None = None,
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    token: str | None = None,
    data_dir: Path | str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Access:
    """What was named, else ``$FLOWS_URL`` and its credentials, else the installation of this machine's data directory.

    Raises:
        NoServerError: there is none; the text says every way to name one.
    """
    home = default_data_dir(environ) if data_dir is None else Path(data_dir).expanduser()
    if data_dir is None:
        url = url or environ.get("FLOWS_URL")
    is_local = False
    if url and "://" not in url:
        raise NoServerError(f"{url!r} is not the address of a server; it looks like http://127.0.0.1:8765")
    if not url:
        server = find_server(home)
        if server is None:
            raise NoServerError(_no_server(home))
        url, is_local = server.url, True
    if token:
        return Access(url=url, token=token)
    if client_id and client_secret:
        return Access(url=url, client_id=client_id, client_secret=client_secret)
    if client_id or client_secret:
        given, missing = ("client_id", "client_secret") if client_id else ("client_secret", "client_id")
        raise NoServerError(f"{given} was given without {missing}; both are needed")
    if not is_local and (found := _of_environment(url, environ)):
        return found
    if is_local or _is_the_local_one(url, home):
        try:
            own_id, own_secret = credentials(home)
        except NoCredentialsError as error:
            raise NoServerError(f"the server at {url} runs here, but {error}") from error
        return Access(url=url, client_id=own_id, client_secret=own_secret)
    raise NoServerError(
        f"there are no credentials for {url}: pass token=... or client_id=... and client_secret=..., or set "
        "FLOWS_TOKEN, or FLOWS_CLIENT_ID and FLOWS_CLIENT_SECRET"
    )


def _of_environment(url: str, environ: Mapping[str, str]) -> Access | None:
    if token := environ.get("FLOWS_TOKEN"):
        return Access(url=url, token=token)
    for prefix in ("FLOWS", "GLOBUS_COMPUTE"):
        named, secret = environ.get(f"{prefix}_CLIENT_ID"), environ.get(f"{prefix}_CLIENT_SECRET")
        if named and secret:
            return Access(url=url, client_id=named, client_secret=secret)
    return None


def _is_the_local_one(url: str, home: Path) -> bool:
    server = find_server(home)
    return server is not None and url.rstrip("/") in (server.url.rstrip("/"), server.public_url.rstrip("/"))


def _no_server(home: Path) -> str:
    return (
        f"no server was named and none runs on {home}. Either start one here with 'flows serve'; or set FLOWS_URL and "
        "FLOWS_TOKEN, or FLOWS_URL, FLOWS_CLIENT_ID and FLOWS_CLIENT_SECRET; or pass Client(url, token=...), "
        "Client(url, client_id=..., client_secret=...), or Client(data_dir=...) of an installation on this machine"
    )

"""The first start of an installation: keys, an administrator, and one client that the official tools sign in with.

There is no default password anywhere: the client's secret is random, stored in ``<data_dir>/client.json`` for its owner
alone (directory 0700, file 0600), and the database keeps only a digest of it. The client's identity is linked to the
administrator's, so that what either owns is seen by both, and both are service administrators.
"""

from __future__ import annotations

import getpass
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from compute_agent.private_files import (
    create_private_file,
    private_directory,
    read_private_file,
    replace_private_file,
)
from schemas import json_text
from schemas.ports import Clock, Database
from schemas.principals import normal_uuid
from schemas.times import to_us

from . import clients, identities
from .keys import Keys
from .tables import insert_unless_there, installation

#: Domain of the usernames of people who belong to this installation alone.
LOCAL_DOMAIN = "flows.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the first start made. ``client_file`` holds ``{"client_id", "client_secret"}``, while it is there."""

    data_dir: Path
    keys: Keys
    client_id: str
    administrator_id: str
    client_file: Path
    is_first_start: bool


def ensure_installation(db: Database, clock: Clock, data_dir: Path) -> Installation:
    """Set up the installation, or find it as it was set up; a start that was cut short is completed.

    Raises:
        PermissionError: when a file of secrets may be read by others.
        ValueError: when the database was set up with another pepper, or ``client.json`` is not as we wrote it.
    """
    private_directory(data_dir)
    keys = Keys.open(data_dir)
    client_file = data_dir / "client.json"
    with db.read() as tx:
        found = tx.execute(select(installation)).first()
    is_first_start = found is None
    if found is None:
        client_id, secret = _credentials(client_file)
        with db.begin() as tx:
            _set_up(tx, keys, client_id, secret, now=clock.now())
            found = tx.execute(select(installation)).one()
    if found.pepper_check != keys.fingerprint():
        raise ValueError(
            f"this database was set up with another pepper than {data_dir / 'keys' / 'pepper'}; put back the keys "
            "directory that belongs to it, or every token and client secret is lost"
        )
    return Installation(
        data_dir=data_dir,
        keys=keys,
        client_id=found.client_id,
        administrator_id=found.administrator_id,
        client_file=client_file,
        is_first_start=is_first_start,
    )


def write_client_file(path: Path, client_id: str, secret: str) -> None:
    """Put the credentials in place of those that were there; for use after the secret was changed."""
    replace_private_file(path, _client_json(client_id, secret))


def _credentials(path: Path) -> tuple[str, str]:
    """Credentials in the file. It is written before the database, so that a start that was cut short finds them."""
    _make_credentials(path)
    raw = read_private_file(path)
    document = json_text.loads(raw or b"", what=str(path))
    client_id = document.get("client_id") if isinstance(document, dict) else None
    secret = document.get("client_secret") if isinstance(document, dict) else None
    if not isinstance(client_id, str) or normal_uuid(client_id) != client_id:
        raise ValueError(f"{path}: client_id must be a UUID; remove the file to have a new one made")
    if not isinstance(secret, str) or len(secret) < 40:
        raise ValueError(f"{path}: client_secret must have 40 characters or more; remove the file to have one made")
    return client_id, secret


def _make_credentials(path: Path) -> None:
    if read_private_file(path) is None:
        create_private_file(path, _client_json(str(uuid.uuid4()), clients.new_secret()))


def _set_up(tx: Connection, keys: Keys, client_id: str, secret: str, *, now: datetime) -> None:
    administrator_id = str(uuid.uuid4())
    row = {
        "one": 1,
        "pepper_check": keys.fingerprint(),
        "administrator_id": administrator_id,
        "client_id": client_id,
        "created_at": to_us(now),
    }
    if not insert_unless_there(tx, installation, row):
        return  # another process was first
    user = _user_name()
    administrator = identities.ensure(
        tx,
        identities.Identity(
            identity_id=administrator_id,
            account_id=administrator_id,
            username=f"{user}@{LOCAL_DOMAIN}",
            kind=identities.Kind.PERSON,
            standing=identities.Standing.USED,
            name=user,
            is_service_administrator=True,
        ),
        now=now,
    )
    clients.add(
        tx,
        keys,
        client_id=client_id,
        secret=secret,
        name=f"{user} at this installation",
        administrator=administrator,
        now=now,
    )


def _user_name() -> str:
    """Name of the operating system's user, reduced to what a username may hold."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no entry in the user database, as in many containers
        name = ""
    return re.sub(r"[^a-z0-9._-]", "", name.lower())[:64] or "operator"


def _client_json(client_id: str, secret: str) -> bytes:
    return (json_text.dumps({"client_id": client_id, "client_secret": secret}) + "\n").encode()

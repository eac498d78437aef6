"""What this installation is: the namespace of its request ids, made once and kept for ever."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, update
from sqlalchemy.dialects import postgresql, sqlite

from .tables import installation


def open_installation(tx: Connection, *, now: int) -> uuid.UUID:
    """The installation's namespace; the first call makes it, every call counts a start.

    Several processes may make the first call at the same time: all of them get the namespace of one.
    """
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    made = dialect.insert(installation).values(one=1, namespace=str(uuid.uuid4()), epoch=0, created_at=now)
    tx.execute(made.on_conflict_do_nothing())
    counted = update(installation).values(epoch=installation.c.epoch + 1).returning(installation.c.namespace)
    return uuid.UUID(tx.execute(counted).scalar_one())

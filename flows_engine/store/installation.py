"""What this installation is: the namespace of its request ids, made once and kept for ever."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, insert, select, update

from .tables import installation


def open_installation(tx: Connection, *, now: int) -> uuid.UUID:
    """The installation's namespace; the first call makes it, every call counts a start."""
    row = tx.execute(select(installation)).one_or_none()
    if row is None:
        namespace = str(uuid.uuid4())
        tx.execute(insert(installation).values(one=1, namespace=namespace, epoch=1, created_at=now))
        return uuid.UUID(namespace)
    tx.execute(update(installation).values(epoch=installation.c.epoch + 1))
    return uuid.UUID(row.namespace)

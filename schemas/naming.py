"""How indexes and constraints are named, in the tables of every room: migrations find them by these names."""

from __future__ import annotations

#: For ``sqlalchemy.MetaData(naming_convention=...)``.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

"""The migrations make exactly the tables that the code uses, on both databases, and can be taken back."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import inspect, text

from flows_engine.app import METADATA
from flows_engine.store.db import SqlDatabase
from flows_engine.store.migrate import SchemaTooNew, check, current_schema, migrate


def test_migrated_tables_are_those_of_the_code(database: SqlDatabase) -> None:
    migrate(database, METADATA)
    check(database, METADATA)
    tables = {name for metadata in METADATA for name in metadata.tables}
    assert set(inspect(database.engine).get_table_names()) == tables | {"alembic_version"}


def test_migrating_twice_changes_nothing(database: SqlDatabase) -> None:
    migrate(database, METADATA)
    before = current_schema(database)
    migrate(database, METADATA)
    assert current_schema(database) == before is not None


def test_many_processes_may_migrate_at_once(database: SqlDatabase) -> None:
    others = [SqlDatabase(database.url) for _ in range(4)] if database.dialect == "postgresql" else [database]
    failures: list[BaseException] = []

    def run(db: SqlDatabase) -> None:
        try:
            migrate(db, METADATA)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(db,)) for db in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for db in others:
        db.dispose()
    assert failures == []
    check(database, METADATA)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: SqlDatabase) -> None:
    migrate(database, METADATA)
    with database.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="schema 9999, which this version does not know"):
        migrate(database, METADATA)
    assert current_schema(database) == "9999"

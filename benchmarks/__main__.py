"""``python -m benchmarks [engine|http|compute] [--database sqlite|postgresql] [--json FILE]``: measure this checkout.

The engine is the one that ``flows serve`` runs, on a fresh installation in a temporary folder; PostgreSQL is a private
server with fsync on. Figures depend on the machine: compare only what one run measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows_engine.app import House, build
from flows_engine.settings import load
from tests.postgres import PostgresMissing, PostgresServer, free_port

from . import compute, engine, http

#: Measured in this process, on a house of its own; and on a server process.
IN_PROCESS = {"engine": engine.measure, "http": http.measure}
AS_PROCESS = {"compute": compute.measure}
SUITES = (*IN_PROCESS, *AS_PROCESS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="default: all")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="default: both")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    databases = [arguments.database] if arguments.database else ["sqlite", "postgresql"]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, "
        f"SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}"
    )
    figures: dict[str, dict[str, float]] = {}
    for database in databases:
        for name in arguments.suites or SUITES:
            try:
                with _database(database) as url:
                    print(f"\n{name} on {database}", flush=True)
                    if name in AS_PROCESS:
                        figures[f"{name}/{database}"] = AS_PROCESS[name](url)
                    else:
                        with _house(url) as house:
                            figures[f"{name}/{database}"] = IN_PROCESS[name](house)
            except PostgresMissing as error:
                print(f"\n{name} on {database}: not measured, {error}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


@contextmanager
def _database(kind: str) -> Iterator[str | None]:
    """Address of a fresh database; None for SQLite in the data directory."""
    if kind == "sqlite":
        yield None
        return
    server = PostgresServer(durable=True)
    try:
        yield server.new_database()
    finally:
        server.close()


@contextmanager
def _house(url: str | None) -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        house = build(load(data_dir=folder, database_url=url, port=free_port(), environ={}))
        try:
            yield house
        finally:
            house.close()


if __name__ == "__main__":
    main()

"""Write a migration from the difference between the tables in code and those the migrations make.

Usage: python tools/new_migration.py "what changes"
"""

from __future__ import annotations

import sys

from flows_engine.app import METADATA
from flows_engine.store.db import SqlDatabase
from flows_engine.store.migrate import migrate, revise


def main() -> None:
    """Migrate an empty database in memory as far as it goes, then compare."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    db = SqlDatabase("sqlite:///:memory:")
    migrate(db, METADATA)
    revise(db, METADATA, sys.argv[1])


if __name__ == "__main__":
    main()

"""``python -m flows_engine.cli``: the ``flows`` command where it is not installed."""

from .main import main

main()

"""The program of one node: the worker pool in ``parsl_pool``, which is loaded only when the program runs.

Every process that the pool starts loads its program first, and one of them, which keeps a table and which the pool
waits for, needs no Parsl, whose import takes most of the time until a node is there.
"""

from __future__ import annotations


def main() -> None:
    from .parsl_pool import run

    run()


if __name__ == "__main__":
    main()

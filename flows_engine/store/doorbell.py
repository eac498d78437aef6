"""News between processes on PostgreSQL: there may be new work. A hint only; losing every one costs latency, not work.

NOTIFY is sent after the commit, by a thread and connection of its own and at most every 20 ms: inside a writing transaction
it would take a lock that all commits share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy.engine import URL

log = logging.getLogger(__name__)

_CHANNEL = "flows_engine_work"
_GATHER_S = 0.02
_MAX_PAUSE_S = 30.0


class Doorbell:
    """``ring`` tells every process that listens on the same database; ``heard`` is called when anybody rang."""

    def __init__(self, url: URL, heard: Callable[[], None]) -> None:
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._heard = heard
        #: Set while news from others can be heard.
        self.listening = threading.Event()
        self._rung = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(self._send,), name="doorbell-send", daemon=True),
            threading.Thread(target=self._keep, args=(self._listen,), name="doorbell-listen", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._rung.set()
        for thread in self._threads:
            thread.join(2.0)

    def ring(self) -> None:
        """Say, soon, that there may be new work. Never waits, never raises."""
        self._rung.set()

    def _keep(self, serve: Callable[[], None]) -> None:
        """Serve until stopped, over a new connection whenever one is lost."""
        pause_s = 0.5
        while not self._stopping.is_set():
            try:
                serve()
                pause_s = 0.5
            except psycopg.Error as error:
                log.info("no news between processes for now: %s", str(error).strip())
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, _MAX_PAUSE_S)

    def _send(self) -> None:
        with psycopg.connect(self._address, autocommit=True, connect_timeout=10) as connection:
            while not self._stopping.is_set():
                self._rung.wait()
                self._rung.clear()
                if not self._stopping.is_set():
                    connection.execute("SELECT pg_notify(%s, '')", (_CHANNEL,))
                    self._stopping.wait(_GATHER_S)

    def _listen(self) -> None:
        with psycopg.connect(self._address, autocommit=True, connect_timeout=10) as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            self.listening.set()
            self._heard()  # what was rung while nobody listened
            try:
                while not self._stopping.is_set():
                    for _ in connection.notifies(timeout=1.0, stop_after=1):
                        self._heard()
            finally:
                self.listening.clear()

"""Waking those who wait for a change of rows, within this process.

A ring concerns a topic and wakes the threads that wait for that topic, no others. Nothing is lost between looking and
waiting: take a ``Listener`` first, look at the rows, then ``wait``; a ring since the last look ends the wait at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType


class News:
    """Topics are any strings; they cost nothing while nobody listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, set[Listener]] = {}
        #: Set for good by ``close``.
        self.is_closed = False

    def listen(self, topic: str) -> Listener:
        """Listens until closed; use it with ``with``."""
        listener = Listener(self, topic)
        with self._lock:
            self._listeners.setdefault(topic, set()).add(listener)
        return listener

    def ring(self, topics: Iterable[str]) -> None:
        """Something about these topics has been committed."""
        with self._lock:
            for topic in topics:
                for listener in self._listeners.get(topic, ()):
                    listener.heard.set()

    def ring_all(self) -> None:
        """Something may have been committed elsewhere: everybody looks again."""
        with self._lock:
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.heard.set()

    def close(self) -> None:
        """The process stops: everybody looks a last time, and nobody waits any more."""
        self.is_closed = True
        self.ring_all()

    def listeners(self, topic: str) -> int:
        """How many listen to a topic."""
        with self._lock:
            return len(self._listeners.get(topic, ()))

    def drop(self, listener: Listener) -> None:
        with self._lock:
            listeners = self._listeners[listener.topic]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[listener.topic]


class Listener:
    """One thread's ear for one topic."""

    def __init__(self, news: News, topic: str) -> None:
        self.topic = topic
        self.heard = threading.Event()
        self._news = news

    def wait(self, timeout_s: float) -> bool:
        """Until the topic was rung since the last ``wait``, or the time is over; whether it was rung.

        Closed news do not wait.
        """
        rung = not self._news.is_closed and self.heard.wait(timeout_s)
        self.heard.clear()
        return rung

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._news.drop(self)

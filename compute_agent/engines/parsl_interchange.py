"""The program of Parsl's interchange, which ends when the agent that started it is gone, however it went.

Without it an agent that is killed would leave interchange, blocks and workers behind for ever: the blocks of a silent
interchange end by themselves. Started by its own interpreter, so nothing need be on PATH.

It also tells which nodes are still connected, and gives one up when the agent says so. Parsl's own waits for heartbeats
until ``heartbeat_threshold``, even when the scheduler has long said that the node's batch job is over.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from typing import Any, Final, cast

import zmq
from parsl.executors.high_throughput import interchange as parsl_interchange

#: The question that gives up a node: ``[GIVE_UP, manager]``. The answer is whether it was done: not while the node's
#: connection stands, since then processes of it live.
GIVE_UP: Final = "GIVE_UP"

_LOOK_S = 1.0


class Interchange(parsl_interchange.Interchange):
    """Parsl's, with one more question, and with ``connected`` in every item of the answer to ``MANAGERS``."""

    def process_command(self, monitoring_radio: Any) -> None:
        if self.socks.get(self.command_channel) != zmq.POLLIN:
            return
        question = self.command_channel.recv_pyobj()
        if isinstance(question, list) and question[0] == GIVE_UP:
            answer: Any = self._give_up(question[1].encode())
        else:
            answer = self._parsls_answer(question, monitoring_radio)
        if question == "MANAGERS":
            for one in answer:
                one["connected"] = self._is_connected(one["manager"].encode())
        self.command_channel.send_pyobj(answer)

    def _parsls_answer(self, question: Any, monitoring_radio: Any) -> Any:
        channel, turn = self.command_channel, _Turn(question)
        self.command_channel = cast(Any, turn)
        self.socks[turn] = zmq.POLLIN
        try:
            super().process_command(monitoring_radio)
        finally:
            self.command_channel = channel
            del self.socks[turn]
        return turn.answer

    def _give_up(self, manager: bytes) -> bool:
        record = self._ready_managers.get(manager)
        if record is None or self._is_connected(manager):
            return False
        record["last_heartbeat"] = 0.0  # so the turn that follows finds it silent for too long
        return True

    def _is_connected(self, manager: bytes) -> bool:
        """Whether there is a connection, by sending a heartbeat on it. The end of a process closes its connections; the
        loss of a machine or a network does not, and is left to the missing heartbeats."""
        self.manager_sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self.manager_sock.send_multipart([manager, parsl_interchange.PKL_HEARTBEAT_CODE], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            return error.errno != zmq.EHOSTUNREACH
        finally:
            self.manager_sock.setsockopt(zmq.ROUTER_MANDATORY, 0)
        return True


class _Turn:
    """One question and its answer, in the place of the channel while Parsl answers."""

    def __init__(self, question: Any) -> None:
        self._question = question
        self.answer: Any = None

    def recv_pyobj(self) -> Any:
        return self._question

    def send_pyobj(self, answer: Any) -> None:
        self.answer = answer


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(0)


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.setsid()  # Ctrl-C at the agent's terminal is the agent's to act on
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent-watch").start()
    options = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the agent, whose child this is
    Interchange(**options).start()


if __name__ == "__main__":
    main()

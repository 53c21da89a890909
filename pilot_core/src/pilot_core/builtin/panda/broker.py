"""A message broker that tells of work, over STOMP. What it tells is a hint: only the server gives jobs, and ends them.

While it is heard the pilot rests until there is something to ask for. Of each task that is told one request is made,
however often it is told meanwhile. Of a task that is said to be over the server is told at once how its jobs are. All
pilots of a queue hear the same at the same time, so each acts at a moment of its own. What makes no sense is passed
over.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from queue import SimpleQueue
from random import uniform
from typing import TYPE_CHECKING, Any, Final

from pilot_core.builtin.panda.options import PandaOptions
from pilot_core.builtin.panda.reading import whole
from pilot_core.sdk import Code, Connection, Hint, PilotError

if TYPE_CHECKING:
    from stomp.connect import StompConnection12

CONNECT_S: Final = 30.0
BEATS_MS: Final = 60_000
AGAIN_S: Final = (5.0, 600.0)
LONGEST: Final = 65_536
MOST_TASKS: Final = 16
OVER: Final = ("kill_task", "finish_task")
log = logging.getLogger(__name__)

Hear = Callable[[Hint], None]
Login = Callable[[], tuple[str, str]]


class Broker:
    """Listens in the thread that calls ``listen``; everything else is for any thread."""

    def __init__(self, options: PandaOptions, connection: Connection, login: Login) -> None:
        if find_spec("stomp") is None:
            told = "panda.broker wants a library that is not installed: pip install 'pilot-core[stomp]'"
            raise PilotError(Code.BADQUEUECONFIGURATION, told)
        self._options = options
        self._connection = connection
        self._login = login
        self._places = [_place(each) for each in options.broker]
        self._told: SimpleQueue[str | None] = SimpleQueue()
        """What came on the present line; ``None`` ends it."""
        self._hushed = threading.Event()
        self._tasks: deque[int] = deque(maxlen=MOST_TASKS)
        self._lock = threading.Lock()
        self.is_heard: bool | None = None
        """Whether whatever is told arrives here just now; ``None`` until that is known."""

    # --- what was told ---

    def wanted(self) -> dict[str, object]:
        """The fields of a request for the task that was told first, if any was."""
        with self._lock:
            if not self._tasks:
                return {}
            return {"task_id": self._tasks[0], "via_topic": self._options.broker_destination.startswith("/topic/")}

    def rest_s(self) -> float:
        """After an answer without jobs: until what else was told is asked for, or it is time to ask all the same."""
        return uniform(0.0, self._options.broker_spread_s) if self.wanted() else self._options.broker_idle_s

    def settle(self, task: object) -> None:
        """A task was asked for."""
        with self._lock:
            if task in self._tasks:
                self._tasks.remove(task)  # type: ignore[arg-type]

    def _take(self, text: str, hear: Hear) -> None:
        told = _message(text)
        kind, task = told.get("msg_type"), whole(told.get("taskid"))
        if task is None:
            log.warning("the broker's message makes no sense: %.200r", text)
        elif kind == "get_job":
            self._want(task, hear)
        elif kind in OVER:
            self.settle(task)
            hear(Hint(task=str(task), over=True, within_s=self._options.broker_spread_s))
        else:
            log.info("the broker tells %.40r of task %d", kind, task)

    def _want(self, task: int, hear: Hear) -> None:
        with self._lock:
            if task in self._tasks:
                return
            self._tasks.append(task)
        hear(Hint(task=str(task), within_s=self._options.broker_spread_s))

    # --- listening ---

    def hush(self) -> None:
        """Have ``listen`` return."""
        self._hushed.set()
        self._told.put(None)

    def listen(self, hear: Hear) -> None:
        """Listen until ``hush``; a broker that cannot be reached is looked for ever more seldom."""
        pause_s = AGAIN_S[0]
        while not self._hushed.is_set():
            try:
                line = self._connected()
            except (PilotError, OSError, self._refusals()) as error:
                self.is_heard = False
                log.warning(
                    "no message broker is heard, and the server is asked: %s", str(error) or type(error).__name__
                )
                self._hushed.wait(pause_s)
                pause_s = min(2 * pause_s, AGAIN_S[1])
                continue
            pause_s = AGAIN_S[0]
            self._follow(line, hear)

    def _refusals(self) -> type[Exception]:
        from stomp.exception import StompException

        refusals: type[Exception] = StompException
        return refusals

    def _connected(self) -> StompConnection12:
        """A line to the first broker that answers."""
        from stomp.connect import StompConnection12

        self._told = SimpleQueue()
        heartbeats = (BEATS_MS, BEATS_MS)
        line = StompConnection12(
            self._places,
            False,
            False,
            timeout=CONNECT_S,
            heartbeats=heartbeats,
            reconnect_attempts_max=1,
            reconnect_sleep_initial=0.0,
        )
        if self._options.broker_tls:
            from ssl import PROTOCOL_TLS_CLIENT

            authorities = self._connection.ca_file
            line.set_ssl(self._places, ca_certs=authorities and str(authorities), ssl_version=PROTOCOL_TLS_CLIENT)
        line.set_listener("pilot", _listener(self._told))
        user, password = self._login()
        line.connect(user or None, password or None, wait=True)
        line.subscribe(self._options.broker_destination, id="pilot", ack="auto")
        return line

    def _follow(self, line: StompConnection12, hear: Hear) -> None:
        """Take what is told; what came to be before this line did is asked for once."""
        self.is_heard = True
        log.info("a message broker tells of work")
        hear(Hint(within_s=self._options.broker_spread_s))
        try:
            while not self._hushed.is_set() and (text := self._told.get()) is not None:
                self._take(text, hear)
        finally:
            self.is_heard = False
            line.remove_listener("pilot")
            if line.is_connected():
                line.disconnect()


def _listener(told: SimpleQueue[str | None]) -> Any:
    from stomp.listener import ConnectionListener

    class Listener(ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            told.put(frame.body if isinstance(frame.body, str) and len(frame.body) <= LONGEST else "")

        def on_error(self, frame: Any) -> None:
            log.warning("the broker complains: %.200r", frame.body)

        def on_disconnected(self) -> None:
            told.put(None)

    return Listener()


def _message(text: str) -> Mapping[str, object]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _place(text: str) -> tuple[str, int]:
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise PilotError(Code.BADQUEUECONFIGURATION, f"panda.broker: wants HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)

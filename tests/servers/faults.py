"""A TCP proxy before a real server, with faults to order.

``with FaultyLine(server.port) as line: line.next(Fault.cut(1_000_000))`` and a client that goes to ``line.port``.
Faults of whole answers are ``pilot_core.testing.server``'s; these are for streams of any protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from attrs import frozen

CHUNK_B = 65536
RESET = struct.pack("ii", 1, 0)


@frozen
class Fault:
    """What goes wrong with one connection, after so many bytes of one direction: what the server sends, or ``up``."""

    name: str
    after_b: int = 0
    wait_s: float = 0
    up: bool = False

    @classmethod
    def refuse(cls) -> Self:
        """The connection is reset at once."""
        return cls("refuse")

    @classmethod
    def cut(cls, after_b: int, *, up: bool = False) -> Self:
        """It is reset there."""
        return cls("cut", after_b, up=up)

    @classmethod
    def flip(cls, at_b: int, *, up: bool = False) -> Self:
        """One bit of that byte is another."""
        return cls("flip", at_b, up=up)

    @classmethod
    def stall(cls, after_b: int, wait_s: float, *, up: bool = False) -> Self:
        """Nothing more comes for so long; then it goes on."""
        return cls("stall", after_b, wait_s, up)

    @classmethod
    def hold(cls, after_b: int, *, up: bool = False) -> Self:
        """Nothing more comes until ``let_go``; ``await_hold`` returns when it has come so far."""
        return cls("hold", after_b, up=up)


class FaultyLine:
    """A port that leads to the one of a server, within ``with``."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.met: list[Fault] = []
        """What went wrong so far, in order."""
        self._target, self._orders, self._lock = target, list[Fault](), threading.Lock()
        self._always: Fault | None = None
        self._held, self._loop, self._ready = threading.Event(), asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def next(self, *faults: Fault) -> None:
        """These meet the next connections, one each; then all is well."""
        with self._lock:
            self._orders += faults

    def always(self, fault: Fault | None) -> None:
        """This meets every connection that nothing else was ordered for."""
        self._always = fault

    def await_hold(self, limit_s: float = 30.0) -> None:
        """Return when a connection is held."""
        assert self._held.wait(limit_s), f"no connection was held within {limit_s:g} s"

    def let_go(self) -> None:
        """Let what is held go on."""
        self._held.clear()
        self._loop.call_soon_threadsafe(self._on.set)

    async def _serve(self) -> None:
        self._over, self._on = asyncio.Event(), asyncio.Event()
        lines: set[asyncio.Task[None]] = set()

        def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._join(reader, writer))
            lines.add(task)
            task.add_done_callback(lines.discard)

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._take()
        if fault and fault.name == "refuse":
            self.met.append(fault)
            reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            reset(writer)
            return
        up, down = (fault, None) if fault and fault.up else (None, fault)
        try:
            await asyncio.gather(self._pump(reader, far_writer, up), self._pump(far_reader, writer, down))
        except (OSError, asyncio.CancelledError):
            reset(writer)
            reset(far_writer)
        for each in (writer, far_writer):
            each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, fault: Fault | None) -> None:
        passed_b = 0
        while data := await source.read(CHUNK_B):
            if fault and passed_b + len(data) > fault.after_b:
                data = await self._spoil(data, fault.after_b - passed_b, fault, sink)
                fault = None
            sink.write(data)
            await sink.drain()
            passed_b += len(data)
        sink.write_eof()

    async def _spoil(self, data: bytes, at: int, fault: Fault, sink: asyncio.StreamWriter) -> bytes:
        """Let a fault happen inside these bytes, and return what is still to be sent."""
        self.met.append(fault)
        if fault.name == "flip":
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        sink.write(data[:at])
        await sink.drain()
        if fault.name == "cut":
            raise ConnectionResetError("as ordered")
        if fault.name == "stall":
            await asyncio.sleep(fault.wait_s)
        else:
            self._on.clear()
            self._held.set()
            await self._on.wait()
        return data[at:]

    def _take(self) -> Fault | None:
        with self._lock:
            return self._orders.pop(0) if self._orders else self._always


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken line does, not in order."""
    door: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()

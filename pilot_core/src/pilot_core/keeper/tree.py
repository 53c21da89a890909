"""One job's processes and the one who owns them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import time

from . import ADDRESS, FORMAT, PROCESSES, SOCKET
from .group import Group
from .line import Line, write_line
from .output import Outputs, Sign
from .process import Seen, descendants, exit_status, holders, is_below, launch, look, send_signal, stop_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, ClassVar

    Message = dict[str, Any]

FIRST_CLIENT_S = 60.0
LOOK_AGAIN_S = 0.5
SWEEP_PASSES = 50
NEVER = float("inf")


class Policy:
    """What becomes of the processes when nobody is connected any more."""

    def __init__(self, message: Message) -> None:
        policy = message.get("policy") or {}
        self.orphan, self.payload = policy.get("orphan", "wait"), policy.get("payload", "payload")
        self.wait_s, self.grace_s = float(policy.get("wait_s", 60.0)), float(message.get("grace_s", 10.0))
        wall_limit_s = message.get("wall_limit_s")
        self.wall_limit_s = NEVER if wall_limit_s is None else float(wall_limit_s)
        if self.orphan not in ("wait", "finish", "stop"):
            raise ValueError(f"an orphan policy is wait, finish or stop, not {self.orphan!r}")


class Ending:
    """An order to end the processes of `names` (None: all), but nothing of `keep`."""

    def __init__(self, names: list[str] | None, keep: list[str], grace_s: float) -> None:
        self.names, self.keep, self.whole = names, keep, names is None and not keep
        self.kill_at, self.asked = time.monotonic() + grace_s, grace_s <= 0


class Tree:
    """One job's processes, started, reaped and ended here; its control directory is the current one."""

    def __init__(self, listener: socket.socket, address: str, policy: Policy) -> None:
        self.listener, self.address, self.policy = listener, address, policy
        self.client: Line | None = None
        self.met = self.done = False
        self.childless, self.alone_since = True, time.monotonic()
        self.running: dict[int, Message] = {}
        self.contained: set[int] = set()
        self.signs: dict[str, Sign] = {}
        self.ended: list[Message] = []
        self.owed: list[Message] = []
        self.endings: list[Ending] = []
        self.last: Ending | None = None
        self.cpu = {"tree_utime": 0.0, "tree_stime": 0.0}
        self.poller = select.poll()
        self.outputs = Outputs(self.poller)
        self.group = Group()

    def run(self) -> None:
        woken, poller = wake_on_child(), self.poller
        poller.register(woken, select.POLLIN)
        poller.register(self.listener, select.POLLIN)
        while not self.done:
            if self.client:
                poller.register(self.client.sock, self.client.events())
            ready = {fd for fd, _ in poller.poll(poll_ms(self.next_look()))}
            if woken in ready:
                os.read(woken, 4096)
            if self.outputs.fd in ready:
                self.outputs.hear()
            self.reap()
            if self.client and not ready.isdisjoint((self.client.sock.fileno(), self.listener.fileno())):
                self.listen(poller)
            if self.listener.fileno() in ready and not self.done:
                self.welcome()
            self.advance()

    def next_look(self) -> float:
        now = time.monotonic()
        times = [e.kill_at if e.kill_at > now else now + LOOK_AGAIN_S for e in self.endings]
        times.append(self.outputs.look_at)
        return min([*times, NEVER if self.client or self.last else self.orphan_deadline()])

    def welcome(self) -> None:
        with contextlib.suppress(OSError):  # it may have left again
            line = Line(self.listener.accept()[0])
            if not may_serve(*line.peer()):
                line.sock.close()
                return
            if self.client:
                line.send({"event": "busy"})
                line.sock.close()
                return
            self.client, self.met = line, True
            line.send({"event": "hello", "format": FORMAT, "pid": os.getpid()})

    def listen(self, poller: select.poll) -> None:
        assert self.client
        try:
            self.client.flush()
            for order in self.client.read():
                self.obey(order)
        except OSError:
            poller.unregister(self.client.sock)
            self.client.sock.close()
            self.client, self.alone_since = None, time.monotonic()

    def tell(self, message: Message) -> None:
        try:
            if self.client:
                self.client.send(message)
        except OSError:
            pass  # its end shows when it is read

    def obey(self, order: bytes) -> None:
        try:
            message = json.loads(order)
            self.ORDERS[message["op"]](self, message)
        except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
            self.tell({"event": "error", "error": f"{type(error).__name__}: {error}"})

    def start(self, order: Message) -> None:
        name, sign = order["name"], None
        try:
            if any(facts["name"] == name for facts in self.running.values()):
                raise OSError(errno.EEXIST, f"{name} runs already")
            if order.get("output_b"):
                self.outputs.hold(name, [order["stdout"], order["stderr"]], order["output_b"])
            sign = Sign(order["sign"]) if order.get("sign") else None
            self.group.make(order.get("groups") or [])
            pid = launch(order, self.group)
        except OSError as error:
            if sign:
                sign.close()
            if error.errno != errno.EEXIST:
                self.outputs.let_go(name)
            self.tell({"event": "refused", "name": name, "errno": error.errno, "error": in_words(error)})
            return
        seen, self.childless = look(pid), False
        if order.get("contained"):
            self.contained.add(pid)
        if sign:
            self.signs[name] = sign
        facts = {"name": name, "pid": pid, "start_ticks": seen.start if seen else None}
        self.running[pid] = {**facts, "started_at": time.time(), "started_mono": time.monotonic()}
        self.tell({"event": "started", **facts, "at": self.running[pid]["started_at"]})
        if self.group.problem:
            self.tell({"event": "error", "error": self.group.problem})
            self.group.problem = ""

    def signal_group(self, order: Message) -> None:
        for pid in [pid for pid, facts in self.running.items() if facts["name"] == order["name"]]:
            os.killpg(pid, order["signal"])

    def end(self, order: Message) -> None:
        self.endings.append(Ending(order.get("names"), [], float(order["grace_s"])))

    def sweep(self, order: Message) -> None:
        self.endings.append(Ending(None, order.get("keep") or [], 0.0))

    def tell_processes(self, _: Message) -> None:
        running = list(self.running.values())
        self.tell({"event": "processes", "running": running, "ended": self.ended, **self.cpu})

    def change_policy(self, order: Message) -> None:
        self.policy = Policy(order)

    def release(self, _: Message) -> None:
        if not self.childless:
            raise ValueError("processes are still running: end or sweep them first")
        self.leave()
        self.tell({"event": "released"})

    ORDERS: ClassVar[dict[str, Callable[[Tree, Message], None]]] = {
        "start": start,
        "signal": signal_group,
        "end": end,
        "sweep": sweep,
        "list": tell_processes,
    }
    ORDERS |= {"policy": change_policy, "release": release}

    def reap(self) -> None:
        try:
            while (reaped := os.wait4(-1, os.WNOHANG))[0]:
                pid, code, usage = reaped
                self.cpu["tree_utime"] += usage.ru_utime
                self.cpu["tree_stime"] += usage.ru_stime
                if facts := self.running.pop(pid, None):
                    cost = {"utime": usage.ru_utime, "stime": usage.ru_stime, "maxrss_kb": usage.ru_maxrss}
                    self.bury({"event": "ended", **facts, **exit_status(code), **cost, **self.cpu})
        except ChildProcessError:
            self.childless = True

    def end_flooding(self) -> None:
        """End who writes too much; told once, it is cut until it has ended."""
        for name, path in self.outputs.look().items():
            for facts in self.running.values():
                if facts["name"] == name and not facts.get("flooded"):
                    facts["flooded"] = path
                    self.endings.append(Ending([name], [], self.policy.grace_s))

    def bury(self, end: Message) -> None:
        end["flooded"] = self.outputs.let_go(end["name"])
        if sign := self.signs.pop(end["name"], None):
            end["begun"] = sign.close()
        end |= {"at": time.time(), "mono": time.monotonic(), "orphaned": self.last is not None}
        self.ended.append(end)
        self.tell({**end, "on_disk": self.record(end)})

    def record(self, message: Message) -> bool:
        """Write it down; what a full disk did not take is tried again with the next."""
        self.owed.append(message)
        try:
            while self.owed:
                write_line(PROCESSES, self.owed[0], os.O_APPEND)
                del self.owed[0]
        except OSError:
            return False
        return True

    def targets(self, ending: Ending) -> list[Seen]:
        tree = descendants(os.getpid())
        chosen = {seen.pid for seen in tree} if ending.names is None else self.family(ending.names, tree)
        chosen -= self.family(ending.keep, tree)
        return [seen for seen in tree if seen.pid in chosen]

    def family(self, names: list[str], tree: list[Seen]) -> set[int]:
        """These processes, all below them and all of their sessions and groups."""
        roots = {facts["pid"] for facts in self.ended if facts["name"] in names} - {seen.pid for seen in tree}
        roots |= {pid for pid, facts in self.running.items() if facts["name"] in names}
        members = set(roots)
        for seen in tree:
            if not roots.isdisjoint((seen.session, seen.group)) or seen.parent in members:
                members.add(seen.pid)
        return members

    def press(self, ending: Ending) -> bool:
        """Bring an ending forward; True when nothing of it is left."""
        if self.childless:
            return True
        if time.monotonic() >= ending.kill_at:
            self.kill(ending)
        elif not ending.asked:
            ending.asked = True
            self.ask(self.targets(ending))
        return not ending.whole and not self.targets(ending)

    def ask(self, targets: list[Seen]) -> None:
        """Ask all to end; what runs a container around a payload is not asked, or that would have no grace."""
        contained = self.contained & self.running.keys()
        spared = holders(targets) if contained else set()
        if spared:
            spared |= contained  # a runtime that is not above what is inside waits for it all the same
        for seen in targets:
            if seen.pid not in spared:
                send_signal(seen.identity, signal.SIGTERM)
                send_signal(seen.identity, signal.SIGCONT)

    def kill(self, ending: Ending) -> None:
        """Stop first, so that nothing forks meanwhile; when no more turn up, kill. A group is killed at once."""
        if ending.whole:
            self.group.kill()
        stopped: set[tuple[int, int]] = set()
        for _ in range(SWEEP_PASSES):
            targets = {seen.identity: seen.group for seen in self.targets(ending)}
            fresh = {identity: group for identity, group in targets.items() if identity not in stopped}
            if not fresh:
                break
            for group in set(fresh.values()) - {os.getpgrp()} if ending.whole else ():
                stop_group(group)
            for identity in fresh:
                send_signal(identity, signal.SIGSTOP)
            stopped.update(fresh)
        for identity in stopped:
            send_signal(identity, signal.SIGKILL)

    def orphan_deadline(self) -> float:
        """When processes without a client are ended."""
        if not self.met:
            return self.alone_since + FIRST_CLIENT_S
        if self.policy.orphan != "finish":
            return self.alone_since + (self.policy.wait_s if self.policy.orphan == "wait" else 0.0)
        for facts in self.running.values():
            if facts["name"] == self.policy.payload:
                return float(facts["started_mono"]) + self.policy.wall_limit_s
        return self.alone_since

    def advance(self) -> None:
        if time.monotonic() >= self.outputs.look_at:
            self.end_flooding()
        late = not self.client and time.monotonic() >= self.orphan_deadline()
        if late and not self.last:
            self.last = Ending(None, [], self.policy.grace_s)
            self.endings.append(self.last)
        for ending in [ending for ending in self.endings if self.press(ending)]:
            self.endings.remove(ending)
            self.tell({"event": "cleared", "names": ending.names, "keep": ending.keep, **self.cpu})
        if self.last not in self.endings:
            acted, self.last = self.last is not None, None
            if not self.client and self.childless and (self.met or acted):
                facts = {"policy": self.policy.orphan, "acted": acted, "at": time.time()}
                self.record({"event": "orphan_policy", **facts, **self.cpu})
                self.leave()

    def leave(self) -> None:
        self.done = True
        self.group.remove()
        for path in (SOCKET, ADDRESS, self.address):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if self.address != SOCKET:
            os.rmdir(os.path.dirname(self.address))


def in_words(error: OSError) -> str:
    """What stood in the way, and where."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def may_serve(pid: int, uid: int) -> bool:
    """The same user, but nothing that is kept here; who has no number here is outside."""
    return uid == os.geteuid() and not (pid and not started_us(pid) and is_below(pid, os.getpid()))


def started_us(pid: int) -> bool:
    """Whether this process is the pilot whose keeper we were forked by, and which is alive: so nearly always."""
    keeper = look(os.getppid())
    return keeper is not None and keeper.parent == pid and keeper.pid == os.getppid()


def poll_ms(when: float) -> int | None:
    if when == NEVER:
        return None
    return int(min(max(when - time.monotonic(), 0.0), 86400.0) * 1000) + 1


def wake_on_child() -> int:
    """A descriptor that is readable after the death of a child."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable

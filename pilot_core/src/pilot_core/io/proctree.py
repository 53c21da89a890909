"""What a tree of processes uses, from /proc with descriptors kept open between samples.

A kept descriptor stays with its process: when the number goes to another one, reading fails instead of
lying. Every thread is asked for its children, because each thread has its own. Descendants that ended are
in the sums of CPU time and I/O, as the kernel adds theirs to whoever reaped them. Processes that vanish
meanwhile are normal.

Most processes sleep. Of one whose only thread has not run since the last sample nothing can have changed but its
parent, the memory that the kernel took from it, and, if it has children, that it was given others: its scheduler's
counts are read, and no more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Self

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psutil

KEPT_PROCESSES = 128
"""The descriptors of so many are kept in any case, and of more where the limit of open files allows it."""
MOST_KEPT = 2048

_PAGE_B = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)
_NOT_COUNTED = (b"", b"0 0 0\n")
"""What is said of a process's runs by kernels that do not count them."""


@frozen(order=True)
class Identity:
    """A process, told apart from a later one of the same number by the clock tick of its start."""

    pid: int
    start_ticks: int


@frozen
class Sample:
    """Sums over the living processes of a tree; CPU time and I/O since its start and with its dead.

    `pss_b` and `swap_b` are nothing unless asked for. Who hides them counts with its resident size.
    """

    members: tuple[Identity, ...] = ()
    threads: int = 0
    rss_b: int = 0
    vmem_b: int = 0
    utime_s: float = 0.0
    stime_s: float = 0.0
    rchar_b: int = 0
    wchar_b: int = 0
    read_b: int = 0
    write_b: int = 0
    pss_b: int | None = None
    swap_b: int | None = None


def identity(pid: int) -> Identity | None:
    """Who has this number now."""
    if not _has_proc():
        return _identity_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return Identity(pid, _Stat.parse(file.read()).start_ticks)
    except _GONE:
        return None


def parent(pid: int) -> int | None:
    """Who started the process of this number, or took it over; nothing where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return _Stat.parse(file.read()).ppid
    except _GONE:
        return None


class Tree:
    """The process that has this number now, and its descendants.

    Without its root (a keeper that reaps for it), the tree is the descendants, and of the root only what
    ended descendants left to it counts. Samples of a tree whose root has ended are empty.
    """

    def __init__(self, root_pid: int, with_root: bool = True) -> None:
        self._root = identity(root_pid)
        self._with_root = with_root
        self._known: dict[int, _Process] = {}
        self._most_kept = _most_kept()

    def sample(self, pss: bool = False) -> Sample:
        """Look at the whole tree; with `pss` it costs many times more, and may halt a process a while.

        With `pss` those that have not run are read anew, too.
        """
        if self._root is None:
            return Sample()
        if not _has_proc():
            return _total(_rows_by_psutil(self._root, self._with_root), pss)
        found = self._walk(self._root, anew=pss)
        for pid in self._known.keys() - found.keys():
            self._known.pop(pid).close()
        return _total((self._row(process, stat, pss) for process, stat in found.values()), pss)

    def close(self) -> None:
        while self._known:
            self._known.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _walk(self, root: Identity, anew: bool) -> dict[int, tuple[_Process, _Stat]]:
        children_of = _Process.children if _has_children_files() else _children_by_scan()
        found: dict[int, tuple[_Process, _Stat]] = {}
        waiting = [(root.pid, 0)]
        while waiting:
            pid, parent = waiting.pop()
            seen = None if pid in found else self._look(pid, parent, anew)
            if seen is not None:
                found[pid] = seen
                waiting += [(child, pid) for child in children_of(*seen)]
        return found

    def _look(self, pid: int, parent: int, anew: bool) -> tuple[_Process, _Stat] | None:
        """The process of this number, if it still is the child that the walk was told of."""
        process = self._known.get(pid) or _Process(pid, kept=len(self._known) < self._most_kept)
        stat = process.stat(parent, anew)
        if stat and (stat.ppid == parent or Identity(pid, stat.start_ticks) == self._root):
            self._known[pid] = process
            return process, stat
        process.close()
        self._known.pop(pid, None)
        return None

    def _row(self, process: _Process, stat: _Stat, pss: bool) -> _Row:
        """Its part, which stays the same until it runs."""
        if process.row is None or pss or process.has_run:
            process.row = self._new_row(process, stat, pss)
        return process.row

    def _new_row(self, process: _Process, stat: _Stat, pss: bool) -> _Row:
        io = process.io()
        utime, stime = stat.dead_utime, stat.dead_stime
        if not self._with_root and Identity(process.pid, stat.start_ticks) == self._root:
            return _Row(None, 0, 0, 0, utime, stime, *io)
        utime, stime = utime + stat.utime, stime + stat.stime
        if stat.over:
            return _Row(None, 0, 0, 0, utime, stime, *io)
        rss_b = stat.rss_pages * _PAGE_B
        smaps = (process.pss() or (rss_b, 0)) if pss else (0, 0)
        member = Identity(process.pid, stat.start_ticks)
        return _Row(member, stat.threads, rss_b, stat.vmem_b, utime, stime, *io, *smaps)


def tree_of(pid: int) -> Tree:
    """The payload and all that runs beside it or has left it: the descendants of the keeper that reaps for them.

    Where the payload is the pilot's own child, its own descendants.
    """
    keeper = parent(pid)
    return Tree(pid) if keeper in (None, 0, 1, os.getpid()) else Tree(keeper, with_root=False)


class _Row(NamedTuple):
    """One process's part of a sample; times in clock ticks. Without a member only what outlives a process."""

    member: Identity | None
    threads: int
    rss_b: int
    vmem_b: int
    utime: int
    stime: int
    rchar_b: int
    wchar_b: int
    read_b: int
    write_b: int
    pss_b: int = 0
    swap_b: int = 0


def _total(rows: Iterable[_Row], pss: bool) -> Sample:
    members, *columns = tuple(zip(*rows, strict=True)) or ((),) * len(_Row._fields)
    threads, rss_b, vmem_b, utime, stime, *io, pss_b, swap_b = map(sum, columns)
    times = utime / _TICKS, stime / _TICKS
    return Sample(tuple(filter(None, members)), threads, rss_b, vmem_b, *times, *io, *((pss_b, swap_b) if pss else ()))


class _Stat(NamedTuple):
    state: bytes
    ppid: int
    utime: int
    stime: int
    dead_utime: int
    dead_stime: int
    threads: int
    start_ticks: int
    vmem_b: int
    rss_pages: int

    @property
    def over(self) -> bool:
        """Whether it has ended, or is ending and has already given back its memory."""
        return self.state in b"ZX" or not self.vmem_b

    @classmethod
    def parse(cls, text: bytes) -> _Stat:
        """Read what follows the program's name, which may hold blanks and parentheses."""
        after = text[text.rindex(b")") + 2 :].split(maxsplit=22)
        state, ppid, threads, start, vmem, rss = map(after.__getitem__, (0, 1, 17, 19, 20, 21))
        utime, stime, dead_utime, dead_stime = map(int, after[11:15])
        numbers = int(threads), int(start), int(vmem), int(rss)
        return cls(state, int(ppid), utime, stime, dead_utime, dead_stime, *numbers)


class _Process:
    """One process's files below /proc, by kept descriptors or opened anew each time."""

    __slots__ = ("_childless", "_fds", "_kept", "_path", "_ran", "_stat", "_text", "has_run", "pid", "row")

    def __init__(self, pid: int, kept: bool) -> None:
        self.pid = pid
        self._path = f"/proc/{pid}"
        self._kept = kept
        self._fds: dict[str, int] = {}
        self._text = b""
        self._ran = b""
        self._stat: _Stat | None = None
        self._childless = False
        self.has_run = True
        self.row: _Row | None = None

    def stat(self, parent: int = 0, anew: bool = True) -> _Stat | None:
        """What it says of itself; one that has not run, and still is its parent's, need not be asked."""
        try:
            self.has_run = self._asked_if_run() or anew
            if self._stat and self._stat.ppid == parent and not self.has_run:
                return self._stat
            text = self._read("stat")
        except _GONE:
            return None
        if text != self._text:
            self._text, self._stat = text, _Stat.parse(text)
        return self._stat

    def _asked_if_run(self) -> bool:
        """Whether it may have run since this was asked; who runs now, or has more threads, always may."""
        try:
            ran = self._read("schedstat")
        except FileNotFoundError:
            ran = b""
        same, self._ran = ran == self._ran and ran not in _NOT_COUNTED, ran
        return not (same and self._stat and self._stat.threads == 1 and self._stat.state != b"R")

    def io(self) -> tuple[int, int, int, int]:
        """Bytes read and written by calls, then from and to storage; zeros where hidden from us."""
        try:
            words = self._read("io").split()
        except (PermissionError, *_GONE):
            return 0, 0, 0, 0
        return int(words[1]), int(words[3]), int(words[9]), int(words[11])

    def pss(self) -> tuple[int, int] | None:
        """Proportional and swapped size, if not hidden from us; a kept descriptor would keep the memory's map."""
        try:
            with open(f"{self._path}/smaps_rollup", "rb") as file:
                sizes = {line[0]: int(line[1]) for line in map(bytes.split, file) if line[-1] == b"kB"}
        except PermissionError:
            return None
        except _GONE:
            return 0, 0
        return sizes[b"Pss:"] * 1024, sizes[b"Swap:"] * 1024

    def children(self, stat: _Stat) -> Iterator[int]:
        """What the main thread started, and what the others did, if there are any."""
        if self._childless and not self.has_run:
            return
        pids = self._pids(self._read, self.pid)
        self._childless = not pids
        yield from pids
        if stat.threads > 1:
            for thread in self._threads():
                if thread != self.pid:
                    yield from self._pids(self._read_once, thread)

    def _threads(self) -> list[int]:
        try:
            return [int(thread) for thread in os.listdir(f"{self._path}/task")]
        except _GONE:
            return []

    def _pids(self, read: Callable[[str], bytes], thread: int) -> list[int]:
        try:
            return [int(pid) for pid in read(f"task/{thread}/children").split()]
        except _GONE:
            return []

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _read(self, name: str) -> bytes:
        if not self._kept:
            return self._read_once(name)
        fd = self._fds.get(name)
        if fd is None:
            fd = self._fds[name] = os.open(f"{self._path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        return _read_all(fd)

    def _read_once(self, name: str) -> bytes:
        fd = os.open(f"{self._path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_all(fd)
        finally:
            os.close(fd)


def _most_kept() -> int:
    """A process takes four descriptors; several trees share the limit, and the pilot needs some for itself."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(KEPT_PROCESSES, min(soft // 16, MOST_KEPT))


def _read_all(fd: int) -> bytes:
    """The kernel fills at most a page a time; what leaves room for one more number was the last."""
    data = part = os.pread(fd, 4096, 0)
    while len(part) > 4000:
        part = os.pread(fd, 4096, len(data))
        data += part
    return data


def _has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


def _has_children_files() -> bool:
    return os.path.exists("/proc/thread-self/children")


def _children_by_scan() -> Callable[[_Process, _Stat], Iterable[int]]:
    """For kernels without `children` files: read once who is whose parent."""
    parents: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if stat := _Process(pid, kept=False).stat():
            parents.setdefault(stat.ppid, []).append(pid)
    return lambda process, _: parents.get(process.pid, ())


def _identity_by_psutil(pid: int) -> Identity | None:
    import psutil

    try:
        return Identity(pid, round(psutil.Process(pid).create_time() * _TICKS))
    except psutil.NoSuchProcess:
        return None


def _rows_by_psutil(root: Identity, with_root: bool) -> Iterator[_Row]:
    """For platforms without /proc; they tell no proportional size, and not all tell I/O."""
    import psutil

    if _identity_by_psutil(root.pid) != root:
        return
    top = psutil.Process(root.pid)
    for process in [top] * with_root + top.children(recursive=True):
        try:
            yield _row_by_psutil(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _row_by_psutil(process: psutil.Process) -> _Row:
    import psutil

    with process.oneshot():
        dead = process.status() == psutil.STATUS_ZOMBIE
        member = None if dead else Identity(process.pid, round(process.create_time() * _TICKS))
        memory, times = process.memory_info(), process.cpu_times()
        utime, stime = (
            round((own + others) * _TICKS)
            for own, others in ((times.user, times.children_user), (times.system, times.children_system))
        )
        io = process.io_counters() if hasattr(process, "io_counters") else None
        moved = (io.read_chars, io.write_chars, io.read_bytes, io.write_bytes) if io else (0, 0, 0, 0)
        size = memory.rss, memory.vms
        return _Row(member, process.num_threads(), *size, utime, stime, *moved, memory.rss, 0)

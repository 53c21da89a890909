"""Processes as `/proc` shows them, and the fork that becomes a payload."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Message = dict[str, Any]

# What a terminal or a batch system sends to every process it finds is the pilot's to answer.
DEAF_TO = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGXCPU, signal.SIGALRM, signal.SIGTSTP),
)


class Seen:
    """A process as ``/proc`` showed it; number and start time together are its identity."""

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.state, self.exit_code = fields[0].decode(), int(fields[49])
        self.parent, self.group, self.session = (int(field) for field in fields[1:4])
        self.pid, self.start = self.identity = pid, int(fields[19])
        # A leader that ended before its threads looks like a zombie and is none.
        self.over = self.state in "ZX" and int(fields[17]) <= 1


def look(pid: int) -> Seen | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
            return Seen(pid, stat.read(4096))
    except OSError:
        return None


def descendants(root: int) -> list[Seen]:
    """Every living process below `root`, parents first. It moves: ask until nothing new turns up."""
    children: dict[int, list[Seen]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (seen := look(int(name))):
            children.setdefault(seen.parent, []).append(seen)
    found: list[Seen] = []
    parents = [root]
    while parents:
        below = children.pop(parents.pop(), [])
        found += below
        parents += [seen.pid for seen in below]
    return [seen for seen in found if not seen.over]


def is_below(pid: int, root: int) -> bool:
    """Whether this process is `root` or below it; of one that is gone, nobody can say that it is not."""
    below = look(pid)
    while below and below.pid != root:
        above = look(below.parent)
        if not above:
            again = look(below.pid)
            if again and again.parent == below.parent:
                return False  # the first of all, or its parent is hidden from us
            above = again
        below = above
    return True


def pin(pid: int) -> int:
    """A descriptor that keeps meaning this process, or -1 where the kernel (before 5.3) has none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def send_signal(identity: tuple[int, int], signum: int) -> None:
    """Signal the process that was seen, never another one that has its number by now."""
    fd = pin(identity[0])
    try:
        seen = look(identity[0])
        if seen and seen.identity == identity:
            signal.pidfd_send_signal(fd, signum) if fd >= 0 else os.kill(seen.pid, signum)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        if fd >= 0:
            os.close(fd)


def stop_group(group: int) -> None:
    """Stop all at once: what forks and exits in turn cannot outrun this."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGSTOP)


def exit_status(code: int) -> Message:
    if os.WIFSIGNALED(code):
        return {"status": None, "signal": os.WTERMSIG(code)}
    return {"status": os.WEXITSTATUS(code), "signal": None}


def launch(message: Message) -> int:
    """Fork and run; `OSError` names what stood in the way."""
    complaints, complain = os.pipe()
    try:
        pid = os.fork()
        if not pid:
            become(message, complain)
    finally:
        os.close(complain)
        complaint = os.read(complaints, 65536)
        os.close(complaints)
    if complaint:
        os.waitpid(pid, 0)
        raise OSError(*json.loads(complaint))
    return pid


def become(message: Message, complain: int) -> NoReturn:
    """Turn the forked child into the program; its status 127 is never seen, the complaint is."""
    what = "the order"
    try:
        os.setsid()
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            what = message.get(name) or os.devnull
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if fd else os.O_RDONLY
            os.dup2(os.open(what, flags | os.O_NOCTTY, 0o666), fd)
        what = message["cwd"]
        os.chdir(what)
        what = "limits"
        limit(message.get("nofile"), message.get("cores"))
        what = message["argv"][0]
        os.execvpe(what, message["argv"], message["env"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        why = os.strerror(number) if isinstance(error, OSError) else repr(error)
        os.write(complain, json.dumps([number, f"{what}: {why}"]).encode())
    finally:
        os._exit(127)


def limit(nofile: int | None, cores: list[int] | None) -> None:
    if nofile is not None:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft = nofile if hard == resource.RLIM_INFINITY else min(nofile, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if cores is not None:
        os.sched_setaffinity(0, cores)
    signal.set_wakeup_fd(-1)
    for signum in (*DEAF_TO, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

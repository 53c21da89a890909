"""Processes as `/proc` shows them, and the start of a payload."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import signal
import stat

from .hiding import hide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .group import Group

    Message = dict[str, Any]

# What a terminal or a batch system sends to every process it finds is the pilot's to answer.
DEAF_TO = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGXCPU, signal.SIGALRM, signal.SIGTSTP),
)
TO_DEFAULT = (*DEAF_TO, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
NOT_PLAIN = "it is not a plain file of one name, so no output goes there; whatever made it must use another name"


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


def numbers(pid: int) -> list[bytes]:
    """The numbers of a process in all pid namespaces that it is in, the outermost first."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as status:
            return status.read(4096).partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    except OSError:
        return []


def holders(tree: list[Seen]) -> set[int]:
    """Those that run a container and end with what is inside: a pid namespace's first process, and all above it."""
    parents = {seen.pid: seen.parent for seen in tree}
    own = len(numbers(os.getpid()))
    inside = {pid: known[-1] for pid in parents if len(known := numbers(pid)) > own}
    above = {parents[pid] for pid in inside}
    found: set[int] = set()
    while above := {pid for pid in above & parents.keys() if inside.get(pid, b"1") == b"1"} - found:
        found |= above
        above = {parents[pid] for pid in above}
    return found


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


def launch(message: Message, group: Group) -> int:
    """Start it, in a session of its own; `OSError` names what stood in the way.

    It is spawned, not forked, as a fork copies every page that this process writes to; only what something is hidden
    from has to go a way of its own first. Directory, limits and control group are inherited, so they are ours for a
    moment, which is safe with one thread.
    """
    what = "the order"
    with contextlib.ExitStack() as after:
        try:
            files = []
            for fd, name in enumerate(("stdin", "stdout", "stderr")):
                what = message.get(name) or os.devnull
                files.append(open_output(what) if fd else os.open(what, os.O_RDONLY | os.O_NOCTTY))
                after.callback(os.close, files[-1])
                if fd and message.get("kept"):
                    keep(what)
            what = message["cwd"]
            enter(after, what)
            what = "limits"
            limit(after, {"NOFILE": message.get("nofile"), "NPROC": message.get("nproc")}, message.get("cores"))
            what = message["argv"][0]
            group.enter(after)
            begin = functools.partial(fork, message["hidden"]) if message.get("hidden") else spawn
            return begin(message["argv"], message["env"], files)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            number = getattr(error, "errno", None) or errno.EINVAL
            why = error.strerror or os.strerror(number) if isinstance(error, OSError) else repr(error)
            raise OSError(number, f"{what}: {why}") from error


def open_output(path: str) -> int:
    """Append to the plain file of this name, or make it; what a job left there may lead elsewhere, or be waited for."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(errno.EINVAL, NOT_PLAIN, path) from None
        raise
    about = os.fstat(fd)
    if path != os.devnull and not (stat.S_ISREG(about.st_mode) and about.st_nlink <= 1):
        os.close(fd)
        raise OSError(errno.EINVAL, NOT_PLAIN, path)
    os.set_blocking(fd, True)
    return fd


def keep(path: str) -> None:
    """Give it a second name here, where file systems know such; that of a start before goes."""
    name = os.path.basename(path)
    with contextlib.suppress(OSError):
        if os.path.lexists(name):
            os.unlink(name)
        os.link(path, name, follow_symlinks=False)


def enter(after: contextlib.ExitStack, directory: str) -> None:
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    after.callback(os.close, here)
    os.chdir(directory)
    after.callback(os.fchdir, here)


def limit(after: contextlib.ExitStack, limits: dict[str, int | None], cores: list[int] | None) -> None:
    for name, most in limits.items():
        if most is not None:
            which = getattr(resource, f"RLIMIT_{name}")
            soft, hard = resource.getrlimit(which)
            resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
            after.callback(resource.setrlimit, which, (soft, hard))
    if cores is not None:
        ours = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        after.callback(os.sched_setaffinity, 0, ours)


def spawn(argv: list[str], env: dict[str, str], files: list[int]) -> int:
    run = functools.partial(
        os.posix_spawn,
        *(find(argv[0], env), argv, env),
        file_actions=[(os.POSIX_SPAWN_DUP2, file, fd) for fd, file in enumerate(files)],
        setsigmask=(),
        setsigdef=TO_DEFAULT,
    )
    try:
        return run(setsid=True)
    except RuntimeError:  # an interpreter built for a C library before 2.26: a group must do
        return run(setpgroup=0)


def fork(hidden: list[str], argv: list[str], env: dict[str, str], files: list[int]) -> int:
    """As if spawned, but the first of these folders and the other paths are covered for it."""
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        become(tells, hidden, argv, env, files)
    os.close(tells)
    with open(told, "rb") as pipe:
        failed = pipe.read()
    if failed:
        os.waitpid(pid, 0)
        number, _, what = failed.decode(errors="surrogateescape").partition(" ")
        raise OSError(int(number), what)
    return pid


def become(tells: int, hidden: list[str], argv: list[str], env: dict[str, str], files: list[int]) -> NoReturn:
    try:
        os.setsid()
        for fd, file in enumerate(files):
            os.dup2(file, fd)
        hide(hidden[0], hidden[1:])
        for signum in TO_DEFAULT:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(find(argv[0], env), argv, env)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        os.write(tells, os.fsencode(f"{number} {getattr(error, 'strerror', None) or repr(error)}"))
    finally:
        os._exit(127)


def find(name: str, env: dict[str, str]) -> str:
    """The program as its own environment's path names it."""
    if "/" in name:
        return name
    paths = (f"{folder or '.'}/{name}" for folder in env.get("PATH", os.defpath).split(":"))
    found = [path for path in paths if os.path.isfile(path)]
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return next((path for path in found if os.access(path, os.X_OK)), found[0])

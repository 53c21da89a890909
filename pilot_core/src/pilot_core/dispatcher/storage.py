"""The dispatcher's own storage: files below one directory, written once, whole, and never changed.

What comes is streamed to a file without a name (to a temporary one where there are none such), summed on its way,
synced, and only then gets its name. Names come from strangers, so every path is walked from the root's descriptor and
never through a link.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from attrs import frozen

from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Response
from pilot_core.io.checksum import Digest, sum_file
from pilot_core.io.inside import Inside, Outside, give_name
from pilot_core.model.names import UnsafeName, safe_name

if TYPE_CHECKING:
    from pilot_core.dispatcher.messages import Body

PIECE_B: Final = 2**18
INPUTS: Final = "inputs"
PARTS: Final = ".parts"
ATTRIBUTE: Final = "user.pilot.adler32"
REMEMBERED: Final = 1024
"""Of so many folders it is known that they need no sync of their names any more."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

OCTETS: Final = "application/octet-stream"

Draft = tuple[BinaryIO, Callable[[int, str], None]]

_DIGEST = re.compile(r"(?:^|[,\s])adler32=([0-9a-f]{8})(?:$|[,\s])", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPAN = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@frozen
class Part:
    """What is sent of a file of which somebody asks for a part or all, and what is said about it."""

    status: int
    first: int
    length: int
    headers: Mapping[str, str]

    @classmethod
    def of(cls, span: str, size_b: int, adler32: str) -> Self:
        """The part that a Range header asks for; ``Refused`` if there is none of it."""
        headers = {"Digest": f"adler32={adler32}", "Accept-Ranges": "bytes"}
        first, length = _span(span, size_b)
        if length == size_b:
            return cls(200, first, length, headers)
        return cls(206, first, length, {**headers, "Content-Range": f"bytes {first}-{first + length - 1}/{size_b}"})


def _span(span: str, size_b: int) -> tuple[int, int]:
    """First byte and length of what is wanted; a Range that is not understood asks for everything."""
    found = _SPAN.fullmatch(span)
    if found is None or not (found[1] or found[2]):
        return 0, size_b
    if not found[1]:
        first, last = max(size_b - int(found[2]), 0), size_b - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size_b), size_b - 1)
        if found[2] and int(found[2]) < first:
            return 0, size_b
    if first > last:
        raise Refused(416, f"the file has {size_b} bytes; {span!r} is not among them")
    return first, last - first + 1


class Storage:
    """Files in folders: one for each attempt of a job, and below ``inputs`` one for each content."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._inside = Inside(root)
        self._top = self._inside.open_folder()
        self._inside.makedirs(PARTS, 0o700)
        self._naming = threading.Lock()
        self._lasting: dict[str, None] = {}
        """Folders whose own names the disk holds, the oldest first."""
        for left in self._inside.names(PARTS):
            self._inside.remove(f"{PARTS}/{left}")
        self._unnamed = _takes_unnamed(self._inside)

    def close(self) -> None:
        os.close(self._top)
        self._inside.close()

    def put(self, scope: str, name: str, body: Body, length: int, digest: str) -> Response:
        """Keep the ``length`` bytes of ``body``: 201, or 200 if just these are there. ``digest`` is the header.

        ``Refused`` with 400, 409 or 507, and then nothing is kept.
        """
        wanted = asked_sum(digest)
        return self._put(_scope(scope), safe(name), body, length, "adler32", wanted)

    def put_input(self, sha256: str, name: str, body: Body, length: int) -> Response:
        """Keep a file in the folder of its content, as ``put`` does."""
        response = self._put(_content(sha256), safe(name), body, length, "sha256", sha256)
        if response.status == 200:
            with self._found(_content(sha256), safe(name)) as file:
                _use(file)
        return response

    def open(self, scope: str, name: str, span: str = "") -> Response:
        """The file, or the ``span`` of it that a Range header asks for; ``Refused`` with 404 or 416."""
        return self._open(_scope(scope), safe(name), span)

    def open_input(self, sha256: str, name: str, span: str = "") -> Response:
        """A file that was put by its content, as ``open`` does. Who looks at it means to use it."""
        response = self._open(_content(sha256), safe(name), span)
        if response.file is not None:
            _use(response.file)
        return response

    def has(self, scope: str, name: str) -> bool:
        """Whether this file is there."""
        return self._inside.exists(f"{_scope(scope)}/{safe(name)}")

    def remove(self, scope: str) -> list[str]:
        """Remove what an attempt stored; say what would not go, and why."""
        return self._inside.remove_tree(_scope(scope))

    def remove_inputs(self, unused_since: float, named: Collection[str]) -> list[str]:
        """Remove inputs that are not ``named`` and that nobody brought or looked at since; say what would not go."""
        with suppress(FileNotFoundError):
            unnamed = [each for each in self._inside.names(INPUTS) if _SHA256.fullmatch(each) and each not in named]
            old = [each for each in unnamed if self._last_used(each) < unused_since]
            return [left for each in old for left in self._inside.remove_tree(f"{INPUTS}/{each}")]
        return []

    def _last_used(self, sha256: str) -> float:
        return max((found.st_mtime for _, found in self._inside.walk(f"{INPUTS}/{sha256}")), default=float("inf"))

    def _put(self, folder: str, name: str, body: Body, length: int, kind: str, wanted: str) -> Response:
        with _refusing(name), self._draft(folder) as (file, give):
            sums = _write(file, body, length, {"adler32", kind})
            check_sum(name, kind, sums[kind], wanted)
            new = self._settle(file, folder, name, give)
        return Response(201 if new else 200, headers={"Digest": f"adler32={sums['adler32']}"})

    @contextmanager
    def _draft(self, folder: str) -> Iterator[Draft]:
        """A new file, and what gives it a name in the opened folder; without one nothing of it stays."""
        if self._unnamed:
            with self._inside.open_unnamed(PARTS) as file:
                yield file, lambda there, name: give_name(file, there, name)
            return
        part = f"{PARTS}/{os.urandom(12).hex()}"
        with self._inside.open_write(part) as file:
            try:
                yield file, lambda there, name: self._rename(part, f"{folder}/{name}")
            finally:
                with suppress(FileNotFoundError):
                    self._inside.remove(part)

    def _rename(self, part: str, path: str) -> None:
        with self._naming:
            if self._inside.exists(path):
                raise FileExistsError(path)
            self._inside.rename(part, path)

    def _settle(self, file: BinaryIO, folder: str, name: str, give: Callable[[int, str], None]) -> bool:
        """Give the file, once the disk holds it, its name there too; false if the same file had it already."""
        os.fsync(file.fileno())
        there = self._open_folder(folder)
        try:
            new = self._give(file, folder, name, partial(give, there))
            os.fsync(there)
        finally:
            os.close(there)
        self._keep_folder(folder)
        return new

    def _keep_folder(self, folder: str) -> None:
        """Return when the disk holds a folder's own name, and those of the folders above it."""
        if folder in self._lasting:
            return
        for above in _above(folder):
            self._sync(above)
        with self._naming:
            self._lasting[folder] = None
            if len(self._lasting) > REMEMBERED:
                del self._lasting[next(iter(self._lasting))]

    def _give(self, file: BinaryIO, folder: str, name: str, give: Callable[[str], None]) -> bool:
        try:
            give(name)
        except FileExistsError:
            if not self._same(file, f"{folder}/{name}"):
                raise taken(name) from None
            return False
        return True

    def _sync(self, folder: str) -> None:
        """Return when the disk holds the names in a folder."""
        if not folder:
            os.fsync(self._top)
            return
        there = self._inside.open_folder(folder)
        try:
            os.fsync(there)
        finally:
            os.close(there)

    def _open_folder(self, folder: str) -> int:
        """A folder's descriptor; it is made if it is not there."""
        try:
            return self._inside.open_folder(folder)
        except FileNotFoundError:
            with self._naming:
                self._lasting.pop(folder, None)
            self._inside.makedirs(folder)
            return self._inside.open_folder(folder)

    def _same(self, file: BinaryIO, path: str) -> bool:
        file.seek(0)
        with self._inside.open_read(path) as other:
            if _size_of(file) != _size_of(other):
                return False
            while piece := file.read(PIECE_B):
                if piece != other.read(PIECE_B):
                    return False
        return True

    def _open(self, folder: str, name: str, span: str) -> Response:
        with ExitStack() as unless_given, _refusing(name):
            file = unless_given.enter_context(self._found(folder, name))
            part = Part.of(span, _size_of(file), _adler32_of(file))
            file.seek(part.first)
            unless_given.pop_all()
        return Response(part.status, type=OCTETS, headers=part.headers, file=file, length=part.length)

    def _found(self, folder: str, name: str) -> BinaryIO:
        try:
            return self._inside.open_read(f"{folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(404, f"there is no file {name!r}") from None


def _takes_unnamed(inside: Inside) -> bool:
    """Whether files without a name can be made here and be given one later."""
    with ExitStack() as leaving, suppress(OSError):
        folder = inside.open_folder(PARTS)
        leaving.callback(os.close, folder)
        give_name(leaving.enter_context(inside.open_unnamed(PARTS)), folder, "probe")
        inside.remove(f"{PARTS}/probe")
        return True
    return False


def _write(file: BinaryIO, body: Body, length: int, kinds: set[str]) -> dict[str, str]:
    digest, size_b = Digest(kinds), 0
    while piece := body.read(PIECE_B):
        file.write(piece)
        digest.update(piece)
        size_b += len(piece)
    if size_b != length:
        raise Refused(400, f"{size_b} bytes came and {length} were announced; nothing was kept")
    sums = digest.hexdigests()
    _note(file, sums["adler32"])
    file.flush()
    return sums


def _above(folder: str) -> Iterator[str]:
    """The folders above a folder, up to the root."""
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


def asked_sum(digest: str) -> str:
    """The sum that a Digest header announces."""
    wanted = _DIGEST.search(digest)
    if wanted is None:
        raise Refused(400, "a file wants a header such as 'Digest: adler32=0a1b2c3d'")
    return wanted[1].lower()


def check_sum(name: str, kind: str, found: str, wanted: str) -> None:
    """Refuse what are not the bytes that were announced."""
    if found != wanted:
        raise Refused(400, f"the bytes of {name!r} have {kind} {found}, not {wanted}; nothing was kept")


def taken(name: str) -> Refused:
    """Why a name cannot be had."""
    return Refused(409, f"{name!r} is there already, with other bytes; a name is used once")


def _scope(scope: str) -> str:
    if scope == INPUTS or scope.startswith("."):
        raise Refused(400, f"{scope!r} names no attempt of a job")
    return safe(scope)


def _content(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise Refused(400, f"{sha256[:80]!r} is no sha256: 64 digits 0-9a-f")
    return f"{INPUTS}/{sha256}"


def safe(name: str) -> str:
    """A name that a file may have here."""
    try:
        return safe_name(name)
    except UnsafeName as unsafe:
        raise Refused(400, str(unsafe)) from None


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """What the file system says about a name, as an answer."""
    try:
        yield
    except Outside as outside:
        raise Refused(400, f"{name!r} is refused: {outside.why}") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Refused(507, f"there is no room for {name!r}: {error.strerror}; nothing was kept") from None


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _use(file: BinaryIO) -> None:
    """Note that somebody uses a file, where that can be noted."""
    with suppress(OSError):
        os.utime(file.fileno())


def _note(file: BinaryIO, adler32: str) -> None:
    """Keep a file's sum with it where the file system can; elsewhere it is summed when it is wanted."""
    if hasattr(os, "setxattr"):
        with suppress(OSError):
            os.setxattr(file.fileno(), ATTRIBUTE, adler32.encode())


def _adler32_of(file: BinaryIO) -> str:
    if hasattr(os, "getxattr"):
        with suppress(OSError):
            return str(os.getxattr(file.fileno(), ATTRIBUTE), "ascii")
    adler32 = sum_file(file.fileno(), ("adler32",)).sums["adler32"]
    _note(file, adler32)
    return adler32

"""Letters that must not be lost: written down, kept where they wait, sent by whichever pilot comes next."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from attrs import frozen

from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Lock, NotJson, Taken, read_json, write_atomic
from pilot_core.io.journal import allocate
from pilot_core.model.records import pack, unpack
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec.drivers import Letter, Reply

FORMAT = 1
RESERVE, RESERVE_B = "final.reserve", 1 << 16
WAITING = "waiting.json"
"""The name of a letter that waits in a job's own control directory, for want of an outbox."""
REFUSED = "pilot.control/refused"
"""Where below a work directory the last words on refused jobs wait, which have no control directory of their own."""
log = logging.getLogger(__name__)

Send = Callable[[Letter], object]


@frozen(kw_only=True)
class Delivery:
    """What became of a letter that waited: without an error it was delivered."""

    path: Path
    job: str = ""
    error: PilotError | None = None
    newer: int | None = None
    """The attempt in whose favour the server refused it; it waits no more, as nobody will ever take it."""


def set_room_aside(control: Path) -> None:
    """Keep room on the disk for a job's last word, whatever its payload fills."""
    fd = os.open(control / RESERVE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        allocate(fd, 0, RESERVE_B)
    finally:
        os.close(fd)


def give_room_back(control: Path) -> None:
    """Keep no room for a last word any more."""
    with suppress(OSError):
        (control / RESERVE).unlink()


def write_letter(path: Path, letter: Letter) -> None:
    """Have the disk hold a letter, in the room that was set aside beside it if there is any."""
    write_atomic(path, json.dumps({"format": FORMAT, **pack(letter)}), durable=True, room=path.with_name(RESERVE))


def read_letter(path: Path) -> Letter:
    """The letter in a file. ``NotJson`` if it is none, ``PilotError`` if a newer pilot wrote it."""
    told = read_json(path)
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise NotJson(path, "this is no letter: it has no format number")
    if told["format"] > FORMAT:
        newer = f"{path} has format {told['format']}, and this pilot reads up to {FORMAT}: leave it to a newer one"
        raise PilotError(Code.CONVERSIONFAILURE, newer)
    try:
        letter: Letter = unpack(Letter, told)
    except (TypeError, AttributeError) as error:
        raise NotJson(path, f"this is no letter: {error}") from None
    return letter


def put_letter(letter: Letter, outbox: Path) -> Path:
    """Put a letter into the outbox. The same letter put twice is there once."""
    from hashlib import sha256

    outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = sha256(json.dumps(pack(letter), sort_keys=True).encode()).hexdigest()[:16]
    place = outbox / f"{digest}.json"
    write_letter(place, letter)
    return place


def keep_letter(letter: Letter, path: Path, outbox: Path | None) -> Path:
    """Let an undelivered letter wait in the outbox or, if there is none or it takes nothing, beside where it lies."""
    place = path.with_name(WAITING)
    if outbox is not None:
        try:
            kept = put_letter(letter, outbox)
        except OSError as error:
            log.error("%s takes no letter: %s", outbox, error.strerror)
        else:
            place.unlink(missing_ok=True)
            return kept
    with suppress(FileExistsError):
        place.hardlink_to(path)
    return place


def deliver_outbox(outbox: Path, senders: Mapping[str, Send]) -> list[Delivery]:
    """Send what waits in an outbox, each letter by the sender of its communicator's name.

    Several pilots may do so at a time. What another pilot is sending just now, and what another user left, is passed
    over.
    """
    return _deliver_all(sorted(outbox.glob("*.json")), senders)


def deliver_left(root: Path, senders: Mapping[str, Send]) -> list[Delivery]:
    """Send what waits below a work directory."""
    return _deliver_all(waiting_below(root), senders)


def waiting_below(root: Path) -> list[Path]:
    """The letters that wait in the control directories below a work directory."""
    return sorted((*root.glob(f"PanDA_Pilot-*.control*/{WAITING}"), *root.glob(f"{REFUSED}/*.json")))


def deliver_letter(path: Path, senders: Mapping[str, Send]) -> None:
    """Send a letter that waits, unless somebody else has sent it. ``PilotError`` if it still waits."""
    delivery = _deliver(path, senders)
    if delivery is not None and delivery.error is not None:
        raise delivery.error
    if path.exists():
        raise PilotError(Code.COMMUNICATIONFAILURE, f"{path}: another pilot tries to send it")


def _deliver_all(paths: Iterable[Path], senders: Mapping[str, Send]) -> list[Delivery]:
    tried = (_deliver(path, senders) for path in paths if _is_own(path))
    return [delivery for delivery in tried if delivery is not None]


def _is_own(path: Path) -> bool:
    try:
        about = path.lstat()
    except OSError:
        return False
    return S_ISREG(about.st_mode) and about.st_uid == os.geteuid()


def _deliver(path: Path, senders: Mapping[str, Send]) -> Delivery | None:
    lock = Lock(path.with_suffix(".lock"))
    try:
        with lock:
            delivery = _deliver_claimed(path, senders)
            if not path.exists():
                lock.path.unlink(missing_ok=True)
            return delivery
    except (Taken, FileNotFoundError):
        return None
    except OSError as error:
        return _undelivered(path, PilotError(Code.FILEHANDLINGFAILURE, f"{error.filename or path}: {error.strerror}"))


def _deliver_claimed(path: Path, senders: Mapping[str, Send]) -> Delivery | None:
    """Whoever holds the lock looks first whether the letter is still there."""
    if not path.exists():
        return None
    try:
        letter = read_letter(path)
        sender = senders.get(letter.communicator)
        if sender is None:
            told = f"it is to be sent by {letter.communicator!r}, which this pilot does not use"
            return _undelivered(path, PilotError(Code.COMMUNICATIONFAILURE, told), letter.job)
        reply = sender(letter)
    except NotJson as error:
        return _undelivered(path, PilotError(Code.CONVERSIONFAILURE, str(error)))
    except PluginFailed as failed:
        return _undelivered(path, PilotError(Code.PLUGINFAILED, str(failed), plugin=failed.plugin))
    except PilotError as error:
        return _undelivered(path, error)
    path.unlink()
    newer = reply.notes.get("newer_attempt") if isinstance(reply, Reply) else None
    return Delivery(path=path, job=letter.job, newer=newer if isinstance(newer, int) else None)


def _undelivered(path: Path, error: PilotError, job: str = "") -> Delivery:
    log.warning("%s still waits: %s", path, error)
    return Delivery(path=path, job=job, error=error)

"""What a dispatcher serves: its queues and storages, from a YAML file or without any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from pilot_core.config.layers import ConfigError, Problem, read_yaml
from pilot_core.config.spelling import meant
from pilot_core.model.wire import Fields

QUEUE: Final = "local"
STORAGE: Final = "LOCAL"
STATUSES: Final = ("online", "test", "brokeroff", "offline")
V1: Final = "v1"
LEGACY: Final = "legacy"
KEEP_S: Final = 30 * 86400.0
TOKEN_LIFE_S: Final = 4 * 86400.0
DIALECTS: Final = (V1, LEGACY)
"""The generations of PanDA's calls in which pilots may speak."""


@frozen(kw_only=True)
class ServedQueue:
    """What a queue allows, as pilots and submissions are told; ``None`` is no limit."""

    name: str = QUEUE
    cores: int | None = None
    memory_b: int | None = None
    disk_b: int | None = None
    wall_s: float | None = None
    heartbeat_s: float = 30.0
    """How often a pilot is to say how its jobs stand at the least: where few jobs are held, they speak sooner."""
    lost_after_s: float = 300.0
    """How long a pilot may be silent until its jobs are given to others."""
    retries: int = 3
    """How often a job that was lost begins again."""
    failed_retries: int = 0
    """How often a job that failed begins again, where its pilot sees a chance."""
    status: str = "online"
    storage: str = STORAGE


@frozen(kw_only=True)
class ServedStorage:
    """Where outputs go. The one without ``url`` is the dispatcher's own, in ``path`` or in its home."""

    name: str = STORAGE
    path: Path | None = None
    url: str = ""


@frozen
class Config:
    """The queues and storages of one dispatcher, by name."""

    queues: Mapping[str, ServedQueue] = field(factory=lambda: {QUEUE: ServedQueue()})
    storages: Mapping[str, ServedStorage] = field(factory=lambda: {STORAGE: ServedStorage()})
    dialects: tuple[str, ...] = DIALECTS
    keep_s: float = KEEP_S
    """How long a job that is over is kept, with what it stored here."""
    token_life_s: float = TOKEN_LIFE_S
    """How long a token lasts that a pilot gets for its token key."""
    proxy: Path | None = None
    """The file with the proxy that pilots get which ask for one."""

    def queue(self, name: str) -> ServedQueue:
        """A queue, or for one that is served no more the plain rules."""
        return self.queues.get(name) or ServedQueue(name=name, status="offline")

    @property
    def own(self) -> ServedStorage:
        """The storage that the dispatcher itself keeps."""
        return next(each for each in self.storages.values() if not each.url)


def read_config(path: Path) -> Config:
    """The configuration in a file; ``ConfigError`` with everything that is wrong with it."""
    fields = Fields(read_yaml(path))
    storages = _storages(fields)
    own = next(name for name, each in storages.items() if not each.url)
    queues = _queues(fields, tuple(storages), own)
    dialects = _dialects(fields)
    keep_s = _seconds(fields, "keep", KEEP_S)
    token_life_s = _seconds(fields, "token_life", TOKEN_LIFE_S)
    proxy = _path(fields, "proxy", "/etc/pilot/proxy.pem")
    fields.refuse_unknown()
    if fields.problems:
        raise ConfigError(*(Problem(str(path), each.path, each.text) for each in fields.problems))
    return Config(queues, storages, dialects, keep_s, token_life_s, proxy)


def _dialects(fields: Fields) -> tuple[str, ...]:
    written = fields.texts("dialects") if "dialects" in fields.names() else DIALECTS
    if fields.value("dialects") == []:
        fields.problem("dialects", f"names none, so no pilot could be answered; write {', '.join(DIALECTS)}")
    for each in written:
        if each not in DIALECTS:
            told = f"{each!r} is not one of {', '.join(DIALECTS)}{meant(each, DIALECTS)}"
            fields.problem("dialects", told)
    return tuple(written)


def _named(fields: Fields, name: str) -> Iterable[tuple[str, Fields]]:
    """The mappings below ``name``; one with nothing in it says that the defaults are right."""
    inner = fields.fields(name)
    for key in inner.names() if inner else ():
        assert inner is not None
        yield key, inner.inner(key, {} if inner.value(key) is None else inner.value(key))


def _storages(fields: Fields) -> dict[str, ServedStorage]:
    storages = {name: _storage(name, each) for name, each in _named(fields, "storages")}
    own = [name for name, each in storages.items() if not each.url]
    for name in own[1:]:
        told = f"keeps files here as {own[0]!r} does; a dispatcher has one such storage, others have a 'url'"
        fields.problem(f"storages.{name}", told)
    if not own:
        name = STORAGE if STORAGE not in storages else f"{STORAGE}_OWN"
        storages[name] = ServedStorage(name=name)
    return storages


def _storage(name: str, fields: Fields) -> ServedStorage:
    path, url = _path(fields, "path", f"/data/{name}"), fields.text("url")
    if path and url:
        fields.problem("url", "stands beside 'path'; a storage has one of them, remove the other")
    if url and not (urlsplit(url).scheme and urlsplit(url).hostname):
        fields.problem("url", f"wants an address such as 'https://store.example.org/data/', not {url!r}")
    fields.refuse_unknown()
    return ServedStorage(name=name, path=path, url=url)


def _path(fields: Fields, name: str, example: str) -> Path | None:
    written = fields.text(name)
    if written and not Path(written).is_absolute():
        fields.problem(name, f"wants a path from the root, such as {example!r}, not {written!r}")
    return Path(written) if written else None


def _queues(fields: Fields, storages: tuple[str, ...], own: str) -> dict[str, ServedQueue]:
    queues = {name: _queue(name, each, storages, own) for name, each in _named(fields, "queues")}
    return queues or {QUEUE: ServedQueue(storage=own)}


def _queue(name: str, fields: Fields, storages: tuple[str, ...], own: str) -> ServedQueue:
    plain = ServedQueue()
    queue = ServedQueue(
        name=name,
        cores=fields.number("cores", least=1, most=10**6),
        memory_b=fields.size("memory") or None,
        disk_b=fields.size("disk") or None,
        wall_s=fields.duration("wall") or None,
        heartbeat_s=_seconds(fields, "heartbeat", plain.heartbeat_s),
        lost_after_s=_seconds(fields, "lost_after", plain.lost_after_s),
        retries=_whole(fields, "retries", plain.retries),
        failed_retries=_whole(fields, "failed_retries", plain.failed_retries),
        status=_one_of(fields, "status", plain.status, STATUSES),
        storage=_one_of(fields, "storage", own, storages),
    )
    if queue.lost_after_s < 2 * queue.heartbeat_s:
        told = f"is {queue.lost_after_s:g} s; a pilot heard every {queue.heartbeat_s:g} s wants twice that at least"
        fields.problem("lost_after", told)
    fields.refuse_unknown()
    return queue


def _seconds(fields: Fields, name: str, default: float) -> float:
    found = fields.duration(name)
    if found is not None and found < 1:
        fields.problem(name, f"is {found:g} s; write 1 s or more")
    return default if found is None else found


def _whole(fields: Fields, name: str, default: int) -> int:
    found = fields.number(name, default, most=1000)
    return default if found is None else found


def _one_of(fields: Fields, name: str, default: str, known: tuple[str, ...]) -> str:
    written = fields.text(name, default)
    if written not in known:
        fields.problem(name, f"{written!r} is not one of {', '.join(known)}{meant(written, known)}")
    return written

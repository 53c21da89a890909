"""What a site allows and prefers, and how much of a node there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

from pilot_core.model.change import evolve


@frozen(kw_only=True)
class Resources:
    """Cores, memory, disk and GPUs: of a slot, or as a job needs them. ``None`` means unlimited or unknown."""

    cores: int = 1
    memory_b: int | None = None
    disk_b: int | None = None
    gpus: tuple[str, ...] = ()
    gpu_count: int = 0
    time_s: float | None = None
    """How long a slot is there, counted from when it is told; whether that is enough for a job is not judged here."""

    def lacks(self, needs: Resources) -> str:
        """Say what is missing for ``needs``, or nothing if they fit."""
        rows = (
            ("cores", needs.cores, self.cores),
            ("memory (B)", needs.memory_b, self.memory_b),
            ("disk (B)", needs.disk_b, self.disk_b),
            ("GPUs", needs.gpu_count, len(self.gpus)),
        )
        short = (f"{what}: {asked} needed, {there} there" for what, asked, there in rows if _short(asked, there))
        return "; ".join(short)

    def less(self, needs: Resources) -> Self:
        """What is left after ``needs`` are given away, the first GPUs first."""
        return evolve(
            self,
            cores=self.cores - needs.cores,
            memory_b=_less(self.memory_b, needs.memory_b),
            disk_b=_less(self.disk_b, needs.disk_b),
            gpus=tuple(gpu for gpu in self.gpus if gpu not in needs.gpus),
        )


def _short(asked: int | None, there: int | None) -> bool:
    return bool(asked) and there is not None and asked is not None and asked > there


def _less(there: int | None, given: int | None) -> int | None:
    return None if there is None else there - (given or 0)


@frozen(kw_only=True)
class Storage:
    """A storage endpoint: beginnings of URLs by what they are for, the best first, and how files are named below."""

    name: str
    kind: str = ""
    hashed: bool | None = None
    """Whether scope, name and a hash of both make a file's path there; ``None``: its scope and its name alone."""
    protocols: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """By ``read_lan``, ``read_wan``, ``write_lan`` or ``write_wan``."""

    @property
    def write(self) -> tuple[str, ...]:
        """All beginnings of URLs to write to."""
        return self._all("write_lan", "write_wan")

    @property
    def read(self) -> tuple[str, ...]:
        """All beginnings of URLs to read from."""
        return self._all("read_lan", "read_wan")

    def _all(self, *activities: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(begin for each in activities for begin in self.protocols.get(each, ())))


@frozen(kw_only=True)
class Queue:
    """The facts of one queue, from whatever source told them; ``params`` keeps what the core has no field for."""

    name: str
    state: str = "ACTIVE"
    status: str = "online"
    cores: int | None = None
    memory_b: int | None = None
    disk_b: int | None = None
    wall_limit_s: float | None = None
    copytools: tuple[str, ...] = ()
    container: str = "none"
    environment: Mapping[str, str] = field(factory=dict)
    storages: Mapping[str, Storage] = field(factory=dict)
    """The storage endpoints that the queue uses, by name."""
    params: Mapping[str, object] = field(factory=dict)

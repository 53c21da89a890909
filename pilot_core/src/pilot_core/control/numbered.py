"""Outputs of which a payload made several: ``X._001``, ``X._002`` where the job expects an ``X``.

That is how servers take a number of outputs which nobody knows beforehand: each is an output like the expected one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_URL, uuid5

from pilot_core.model.change import evolve
from pilot_core.model.files import FileSpec, Replica

_NUMBER = re.compile(r"(.+?)\.?_\d{1,9}", re.ASCII | re.DOTALL)


def numbered(outputs: Sequence[FileSpec], here: Sequence[str]) -> tuple[FileSpec, ...]:
    """The outputs with those in place of each expected one that is not among the files ``here``, in their order."""
    absent = {file.lfn for file in outputs if not file.members}.difference(here)
    expected = {file.lfn for file in outputs}
    made: dict[str, list[str]] = {}
    for name in here:
        if name not in expected and (found := _NUMBER.fullmatch(name)) and found[1] in absent:
            made.setdefault(found[1], []).append(name)
    return tuple(each for file in outputs for each in _each(file, made.get(file.lfn, ())))


def _each(file: FileSpec, names: Sequence[str]) -> Iterator[FileSpec]:
    if not names:
        yield file
    for name in names:
        guid = str(uuid5(NAMESPACE_URL, f"{file.guid}/{name}"))
        places = tuple(_moved(each, file.lfn, name) for each in file.replicas)
        yield evolve(file, lfn=name, guid=guid, replicas=places)


def _moved(place: Replica, old: str, new: str) -> Replica:
    """The place beside the one that was meant; what a signature opens, it opens for that name alone."""
    folder, slash, last = place.url.rpartition("/")
    return evolve(place, url=f"{folder}{slash}{new}") if last == old and not place.signed else place

"""Where a file goes in the end: a place below the file's storage, or below what the profile itself names."""

from __future__ import annotations

from posixpath import normpath

from pilot_core.builtin.generic.words import Reader, Text, Values, values_of_file
from pilot_core.sdk import Code, FileSpec, PilotError, Queue, Replica
from pilot_core.sdk.wire import Fields


def read_destination(fields: Fields, reader: Reader) -> Text:
    """The place in a profile; one that ends with a slash is a directory."""
    text = reader.text(fields, "destination")
    begins = str(text)
    if begins and not (begins.startswith(("/", "{storage}")) or "://" in begins.partition("{")[0]):
        fields.problem("destination", f"{begins!r} is no place; begin with '/', an address or '{{storage}}'")
    return text


def place_of(destination: Text, file: FileSpec, queue: Queue, values: Values) -> Replica:
    """The place; no word of a job's leads out of the directory that profile and storage say before it."""
    storage = queue.storages.get(file.endpoint)
    written = storage.write[0].rstrip("/") if storage and storage.write else None
    url = destination.fill({**values, **values_of_file(file, written)})
    url += file.lfn if url.endswith("/") else ""
    root = _root(destination, written or "")
    if ".." in url.split("/") or not _plain(url).startswith(f"{_plain(root)}/"):
        raise PilotError(Code.BADOUTPUTFILENAME, f"{file.lfn} would go to {url}, which is not below {root}")
    return Replica(url, file.endpoint)


def _root(destination: Text, storage: str) -> str:
    """The directory that stands before the first word of the job's."""
    said, name = destination.parts[0]
    return f"{said}{storage}" if name == "storage" else said.rpartition("/")[0]


def _plain(url: str) -> str:
    scheme, sign, path = url.rpartition("://")
    return f"{scheme}{sign}{normpath(path) if path else ''}".rstrip("/")

"""Information sources: "file", the facts of queues in a file of the site's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from pilot_core.sdk import Code, InfoSource, PilotError, Settings, option
from pilot_core.sdk.wire import LARGEST_B, BadMessage, parse_plain


@frozen(kw_only=True)
class QueueFileOptions:
    """The information source "file"."""

    section = "queue_file"

    path: Path | None = option(None, help="A YAML or JSON file: facts by the name of the queue, or of one queue.")
    storages: Path | None = option(None, help="A YAML or JSON file: facts by the name of the storage endpoint.")


class QueueFile(InfoSource):
    """Queues from a file: a mapping from their names to their facts, or the facts of one, its ``name`` among them."""

    name = "file"
    options = QueueFileOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._whence: dict[str, Path] = {}

    def queue(self, name: str) -> Mapping[str, object] | None:
        """The facts of this queue; a file that does not know it says which it knows."""
        path = self.settings.of(QueueFileOptions).path
        if path is None:
            return None
        queues = _queues(_read(path), name)
        facts = queues.get(name)
        if facts is None:
            from difflib import get_close_matches

            near = get_close_matches(name, list(queues), n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(queues) or 'none'}"
            raise PilotError(Code.QUEUEDATA, f"{path} has no queue {name!r}; {hint}", permanent=True)
        if not isinstance(facts, Mapping):
            raise PilotError(Code.QUEUEDATANOTOK, f"{path}: {name}: wants a mapping of facts")
        self._whence[name] = path
        return facts

    def storage(self, name: str) -> Mapping[str, object] | None:
        """The facts of this storage endpoint, if the file has it."""
        path = self.settings.of(QueueFileOptions).storages
        facts = _read(path).get(name) if path else None
        if facts is None or path is None:
            return None
        if not isinstance(facts, Mapping):
            raise PilotError(Code.QUEUEDATANOTOK, f"{path}: {name}: wants a mapping of facts")
        self._whence[name] = path
        return facts

    def whence(self, name: str) -> tuple[str, float | None]:
        """The file that told of this queue or storage last. It is read whenever asked, so it has no age."""
        return str(self._whence.get(name, "")), None


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            read = parse_plain(file.read(LARGEST_B + 1), str(path), as_json=path.suffix == ".json")
    except OSError as error:
        raise PilotError(Code.QUEUEDATA, f"{path}: {error.strerror}") from error
    except BadMessage as bad:
        raise PilotError(Code.QUEUEDATANOTOK, str(bad)) from bad
    if not isinstance(read, Mapping):
        raise PilotError(Code.QUEUEDATANOTOK, f"{path}: wants a mapping from names to their facts")
    return read


def _queues(read: Mapping[str, object], asked: str) -> Mapping[str, object]:
    """By name; the facts of a single queue stand for the one that they name, or for any."""
    if all(isinstance(facts, Mapping) for facts in read.values()) and not {"params", "environ"} & read.keys():
        return read
    return {str(read.get("name") or read.get("nickname") or asked): read}

"""A job as PanDA writes it: one flat object, lists as text with commas, what is not set as ``"NULL"``.

Lists are aligned by position with ``inFiles`` or ``outFiles``; ``scopeOut`` alone leaves the log out. Keys that PanDA
has no word for, and that a dispatcher of our own adds, are plain JSON values: ``sources``, ``destinations``,
``optional``, ``always``, ``environment``, ``options``, ``gpus``, ``loopingLimit``, ``checkpoint``, ``checkpointSaved``.

Options that are hidden in the arguments are found by ``arguments``; what only some payloads need goes to ``extras``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from attrs import evolve, frozen

from pilot_core.builtin.panda.arguments import Hidden, uncover
from pilot_core.builtin.panda.extras import Lists, directly_read, extras_of, lists_of, steps_of
from pilot_core.sdk import Checkpoint, Checksum, FileSpec, Job, Replica, Resources, checkpoint_before
from pilot_core.sdk.io import UnsafeName, safe_name
from pilot_core.sdk.wire import Fields, shown

MB: Final = 10**6
SECRETS_FILE: Final = "panda_secrets.json"
"""Where payloads look for the secrets of their owner."""
ZIP: Final = "zip://"
INPUT_LISTS: Final = ("scopeIn", "GUID", "fsize", "checksum", "ddmEndPointIn", "realDatasetsIn")
ACCESS_LIST: Final = "prodDBlockToken"
OUTPUT_LISTS: Final = ("realDatasets", "ddmEndPointOut")
_WHOLE: Final = re.compile(r"\s*([+-]?[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
log = logging.getLogger(__name__)


def read_job(raw: Mapping[str, object], origin: str = "") -> Job:
    """The job in a message; ``BadMessage`` with everything that is wrong with it. ``origin`` is who sent it."""
    told = {name: value for name, value in raw.items() if not is_unset(value)}
    return _Wire(Fields(told), origin).read()


def is_unset(value: object) -> bool:
    """Whether a value is one of the many words for nothing."""
    return value is None or (isinstance(value, str) and value.strip() in ("", "NULL", "None"))


def whole(value: object) -> int | None:
    """The whole number in a value, which may be written as text."""
    if isinstance(value, str) and (written := _WHOLE.fullmatch(value)):
        return int(written[1])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def truth(value: object) -> bool | None:
    """Whether a flag is set: a real one, or one of the many words for it; ``None`` for anything else."""
    word = str(value).strip().lower()
    return True if word in ("true", "yes", "1") else False if word in ("false", "no", "0", "", "none", "null") else None


def key_of(raw: Mapping[str, object]) -> tuple[str, int] | None:
    """Which attempt at which job a message is about, if it says so."""
    job_id, attempt = whole(raw.get("PandaID")), whole(raw.get("attemptNr"))
    return (str(job_id), max(attempt or 0, 0)) if job_id is not None and job_id > 0 else None


@frozen
class _Wire:
    fields: Fields
    origin: str

    def read(self) -> Job:
        """Read everything, then say what was wrong."""
        fields, job_id, attempt = self.fields, self._id(), self._attempt()
        self._status()
        hidden, lists, steps = self._uncovered()
        checkpoint, wall_s = self._checkpoint(), self._limit("maxWalltime")
        saved = (checkpoint.before,) if checkpoint and checkpoint.before else ()
        outputs, log_file = self._outputs(f"{self.origin}/{job_id}.{attempt}")
        job = Job(
            id=str(job_id),
            name=fields.text("jobName"),
            attempt=attempt,
            transformation=self._transformation(),
            parameters=lists.parameters,
            environment=self._environment(),
            inputs=(*self._inputs(hidden), *saved),
            outputs=_archived(outputs, hidden.archives),
            log=log_file,
            checkpoint=checkpoint,
            needs=self._needs(),
            wall_limit_s=float(wall_s) if wall_s > 0 else None,
            looping_limit_s=float(self._count("loopingLimit")) or None,
            image=hidden.image
            or fields.text("container_name")
            or steps.get("containerOptions", {}).get("containerImage", ""),
            task=fields.text("taskID"),
            label=fields.text("prodSourceLabel"),
            options=self._options(),
            origin=self.origin,
            extras=extras_of(
                overrides=hidden.queue,
                texts=lists.texts,
                packed=[name.removeprefix(ZIP) for name in self._list("inFiles") if name.startswith(ZIP)],
                steps=steps,
                elsewhere=self._elsewhere(),
            ),
        )
        fields.raise_problems(f"job {job_id}" if job_id else "a job")
        return job

    # --- what to run ---

    def _id(self) -> int:
        value = self.fields.value("PandaID")
        number = whole(value)
        if number is None or number <= 0:
            told = "is missing" if value is None else f"wants a whole number from 1 on, not {shown(value)}"
            self.fields.problem("PandaID", told)
        return number or 0

    def _attempt(self) -> int:
        value = self.fields.value("attemptNr")
        number = 0 if value is None else whole(value)
        if number is None or number < 0:
            self.fields.problem("attemptNr", f"wants a whole number from 0 on, not {shown(value)}")
        return number or 0

    def _status(self) -> None:
        value = self.fields.value("StatusCode")
        if value is not None and whole(value) != 0:
            self.fields.problem("StatusCode", f"is {shown(value)}, so the server could not complete this job")

    def _transformation(self) -> str:
        return self.fields.text("transformation", required=self.fields.value("containerOptions") is None)

    def _uncovered(self) -> tuple[Hidden, Lists, Mapping[str, Mapping[str, str]]]:
        """What the arguments hide, what they are without that, and the steps beside the payload."""
        program = self.fields.text("transformation").rpartition("/")[2]
        hidden = uncover(self._parameters(), keeps_image=program.startswith("runcontainer"))
        merging = truth(self.fields.value("eventServiceMerge")) is True
        return hidden, lists_of(self.fields, hidden.parameters, merging=merging), steps_of(self.fields)

    def _parameters(self) -> str:
        """No byte of it is changed; what no program can be given is refused."""
        value = self.fields.value("jobPars")
        if value is None or isinstance(value, int):
            return "" if value is None else str(value)
        if not isinstance(value, str):
            self.fields.problem("jobPars", f"wants text, not {shown(value)}")
        elif "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            self.fields.problem("jobPars", "holds a NUL or half of a character pair, which no program can be given")
        else:
            return value
        return ""

    def _environment(self) -> Mapping[str, str]:
        table = self.fields.table("environment")
        for name in table:
            if not _VARIABLE.fullmatch(name):
                self.fields.problem("environment", f"{shown(name)} cannot name a variable")
        return table

    def _seen(self, url: str) -> str:
        """A place in the server's own storage, seen from here."""
        return f"{self.origin.rstrip('/')}{url}" if url.startswith("/storage/") else url

    def _needs(self) -> Resources:
        if (cores := self._limit("coreCount")) < 0:
            self.fields.problem("coreCount", f"wants a whole number from 0 on, not {cores}")
        return Resources(
            cores=max(cores, 1),
            memory_b=max(self._limit("minRamCount"), 0) * MB or None,
            disk_b=self._count("maxDiskCount") * MB or None,
            gpu_count=self._count("gpus"),
        )

    def _limit(self, name: str) -> int:
        """A number that decides what a job is given, 0 if it is not set; nonsense is no reason to guess."""
        value = self.fields.value(name)
        number = whole(value)
        if value is not None and number is None:
            self.fields.problem(name, f"wants a whole number, not {shown(value)}")
        return number or 0

    def _count(self, name: str) -> int:
        """A number that a job can do without: whatever is no number, or less than nothing, counts as not set."""
        value = self.fields.value(name)
        number = whole(value)
        if value is not None and number is None:
            log.warning("job %s: %s is left out: %.60r is no whole number", self.fields.value("PandaID"), name, value)
        return max(number or 0, 0)

    def _options(self) -> Mapping[str, object]:
        options = self.fields.values("options")
        looping = self.fields.value("loopingCheck")
        return {**options, "looping.check": False} if looping is not None and truth(looping) is False else options

    # --- files ---

    def _inputs(self, hidden: Hidden) -> tuple[FileSpec, ...]:
        names, sources = self._list("inFiles"), self.fields.table("sources")
        columns = {name: self._aligned(name, "inFiles", len(names)) for name in INPUT_LISTS}
        direct = frozenset(directly_read(self._access(), self.fields, hidden))
        files: dict[str, FileSpec] = {}
        for number, written in enumerate(names):
            lfn, url = _unprefixed(written)
            self._is_name("inFiles", number, lfn)
            if lfn not in files:
                file = self._input(lfn, self._seen(sources.get(lfn, url)), number, columns)
                files[lfn] = evolve(file, direct=lfn in direct)
        return tuple(files.values())

    def _access(self) -> Iterator[tuple[str, str]]:
        """Each input with the token that says how it may be read."""
        names = self._list("inFiles")
        tokens = {ACCESS_LIST: self._aligned(ACCESS_LIST, "inFiles", len(names))}
        return ((_unprefixed(name)[0], self._cell(ACCESS_LIST, number, tokens)) for number, name in enumerate(names))

    def _input(self, lfn: str, url: str, number: int, columns: Mapping[str, Sequence[str]]) -> FileSpec:
        scope, guid, size, checksum, endpoint, dataset = (self._cell(name, number, columns) for name in INPUT_LISTS)
        return FileSpec(
            lfn=lfn,
            scope=scope,
            guid=guid,
            dataset=dataset,
            endpoint=endpoint,
            size_b=self._size(number, size),
            checksum=self._checksum(number, checksum),
            replicas=(Replica(url, endpoint),) if url else (),
        )

    def _outputs(self, namespace: str) -> tuple[tuple[FileSpec, ...], FileSpec | None]:
        """The outputs and the log; each gets a GUID that is the same whenever and wherever this job is read."""
        names, log_name, asked = self._list("outFiles"), self.fields.text("logFile"), self._asked()
        columns = {name: self._aligned(name, "outFiles", len(names)) for name in OUTPUT_LISTS}
        if log_name and log_name not in names:
            self.fields.problem("logFile", f"{shown(log_name)} is not among outFiles")
        files: dict[str, FileSpec] = {}
        for number, (lfn, scope) in enumerate(self._scoped(names, log_name)):
            named = self._is_name("outFiles", number, lfn)
            if lfn not in files:
                guid = self.fields.text("logGUID") if lfn == log_name else ""
                guid = guid or (str(uuid5(NAMESPACE_URL, f"{namespace}/{lfn}")) if named else "")
                dataset, endpoint = (self._cell(name, number, columns) for name in OUTPUT_LISTS)
                spec = FileSpec(lfn=lfn, scope=scope, guid=guid, dataset=dataset, endpoint=endpoint)
                files[lfn] = asked.of(spec)
        log_file = files.pop(log_name, None)
        return tuple(files.values()), log_file

    def _elsewhere(self) -> Mapping[str, str]:
        """What is said of another storage for outputs."""
        said = {"wish": self.fields.text("altStageOut").lower(), "never": self.fields.text("nucleus")}
        return {name: value for name, value in said.items() if value}

    def _checkpoint(self) -> Checkpoint | None:
        """Where the payload's state goes, and what the attempt before has left of it."""
        asked = self.fields.fields("checkpoint")
        if asked is None:
            return None
        name, place, endpoint = asked.text("name", required=True), asked.text("destination"), asked.text("endpoint")
        self._is_name("checkpoint.name", 0, name)
        file = FileSpec(
            lfn=name,
            scope=self.fields.text("scopeLog"),
            guid=str(uuid5(NAMESPACE_URL, f"{self.origin}/{self._id()}.{self._attempt()}/{name}")),
            endpoint=endpoint,
            replicas=(Replica(place, endpoint),) if place else (),
            replace=bool(place),
        )
        known = Checkpoint(file=file, before=self._saved(name, asked.text("source")))
        warning_s = asked.duration("warning")
        return known if warning_s is None else evolve(known, warning_s=warning_s)

    def _saved(self, name: str, first: str) -> FileSpec | None:
        """What the last attempt has saved, else what the first one is to begin with."""
        saved = self.fields.fields("checkpointSaved")
        url = saved.text("url") if saved else first
        if not url:
            return None
        size_b, checksum = (saved.number("size_b"), saved.text("checksum")) if saved else (None, "")
        return FileSpec(
            lfn=checkpoint_before(name),
            size_b=size_b,
            checksum=self._checksum(0, checksum),
            replicas=(Replica(self._seen(url)),),
        )

    def _scoped(self, names: Sequence[str], log_name: str) -> Iterator[tuple[str, str]]:
        """Each name with its scope: the log has one of its own, the others take theirs in turn."""
        scopes = self._list("scopeOut")
        taken = 0
        for lfn in names:
            if lfn == log_name:
                yield lfn, self.fields.text("scopeLog")
                continue
            if taken >= len(scopes):
                self.fields.problem(f"scopeOut[{taken}]", f"is missing: the output {shown(lfn)} has no scope")
            yield lfn, self._cell("scopeOut", taken, {"scopeOut": scopes})
            taken += 1

    def _asked(self) -> _Asked:
        fields = self.fields
        return _Asked(
            places=fields.table("destinations"),
            optional=frozenset((*self._list("allowNoOutput"), *fields.texts("optional"))),
            always=frozenset(fields.texts("always")),
        )

    def _is_name(self, where: str, number: int, lfn: str) -> bool:
        try:
            if not is_unset(lfn):
                return bool(safe_name(lfn))
            why = "names no file"
        except UnsafeName as unsafe:
            why = f"{shown(lfn)} cannot name a file: {unsafe.why}"
        self.fields.problem(f"{where}[{number}]", why)
        return False

    def _size(self, number: int, written: str) -> int | None:
        """The size, where it is known: 0 says that it is not."""
        size_b = whole(written)
        if written and (size_b is None or size_b < 0):
            log.warning("fsize[%d] is left out: %.60r is no size", number, written)
            return None
        return size_b or None

    def _checksum(self, number: int, written: str) -> Checksum | None:
        try:
            return Checksum.parse(written) if written else None
        except ValueError as error:
            self.fields.problem(f"checksum[{number}]", str(error)[:200])
            return None

    # --- lists ---

    def _list(self, name: str) -> Sequence[str]:
        value = self.fields.value(name)
        if value is None:
            return ()
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return [each.strip(" ") for each in str(value).split(",")]
        self.fields.problem(name, f"wants text with commas, not {shown(value)}")
        return ()

    def _aligned(self, name: str, leader: str, length: int) -> Sequence[str]:
        """A list that goes with another; where it is shorter, the rest is not set."""
        elements = self._list(name)
        if elements and len(elements) != length:
            told = "job %s: %s has %d elements, %s has %d"
            log.warning(told, self.fields.value("PandaID"), name, len(elements), leader, length)
        return elements

    def _cell(self, name: str, number: int, columns: Mapping[str, Sequence[str]]) -> str:
        """One element of a list, stripped, empty if it is not set."""
        column = columns[name]
        written = column[number].strip() if number < len(column) else ""
        if not written.isprintable():
            self.fields.problem(f"{name}[{number}]", f"holds a control character, leave it out: {shown(written)}")
        return "" if is_unset(written) else written


@frozen(kw_only=True)
class _Asked:
    """What is asked of outputs by name."""

    places: Mapping[str, str]
    optional: frozenset[str]
    always: frozenset[str]

    def of(self, file: FileSpec) -> FileSpec:
        """The output with what is asked of it."""
        url = self.places.get(file.lfn, "")
        return evolve(
            file,
            replicas=(Replica(url, file.endpoint),) if url else (),
            optional=file.lfn in self.optional,
            always=file.lfn in self.always,
        )


def _archived(outputs: Sequence[FileSpec], archives: Mapping[str, tuple[str, ...]]) -> tuple[FileSpec, ...]:
    """The outputs, some of which are archives of others."""
    for name in archives.keys() - {file.lfn for file in outputs}:
        log.warning("the archive %s is not made: it is not among outFiles", shown(name))
    return tuple(evolve(file, members=archives[file.lfn]) if file.lfn in archives else file for file in outputs)


def _unprefixed(written: str) -> tuple[str, str]:
    """The name of a file, and its place where the name is one."""
    if written.startswith("gs://"):
        return written.rpartition("/")[2], written
    return written.removeprefix(ZIP), ""

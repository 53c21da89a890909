"""The described job: what a person writes into a file, YAML or JSON, to have a job run. Every key is in the manual."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from pilot_core.model.files import Checkpoint, Checksum, FileSpec, Replica, checkpoint_before
from pilot_core.model.job import Job
from pilot_core.model.names import UnsafeName, safe_name
from pilot_core.model.plain import parse_plain
from pilot_core.model.queue import Resources
from pilot_core.model.wire import BadMessage, Fields, Problem, oddity, shown

SUFFIXES: Final = (".yaml", ".yml", ".json")
OWN_FILES: Final = ("payload.stdout", "payload.stderr")
LONGEST_SCRIPT: Final = 100_000
LONGEST_ID: Final = 128
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ARCHIVE: Final = re.compile(r"\.(?:tar|tgz|txz|tbz)")
_SETTING: Final = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*")


def describe(path: Path, data: bytes, origin: str) -> dict[str, object]:
    """The raw job in a file's text, as it is journaled. What is wrong with the text is kept for ``read_job`` to raise.

    ``path`` is where it was written, against which it names other files; ``origin`` is where it is now.
    """
    try:
        described = parse_plain(data, path.name, as_json=path.suffix == ".json")
    except BadMessage as bad:
        return undescribed(path, origin, *bad.problems)
    return {**_of_plugins(described), "file": {"path": str(path), "origin": origin}, "described": described}


def undescribed(path: Path, origin: str, *problems: Problem) -> dict[str, object]:
    """The raw job in a file that makes no sense."""
    file = {"path": str(path), "origin": origin}
    return {"file": file, "broken": [[problem.path, problem.text] for problem in problems]}


def _of_plugins(described: object) -> Mapping[str, object]:
    """The fields under ``wire`` stand where a plugin finds those of a server."""
    wire = described.get("wire") if isinstance(described, Mapping) else None
    return wire if isinstance(wire, Mapping) and not oddity(wire) else {}


def read_job(raw: Mapping[str, object]) -> Job:
    """The job in what ``describe`` made; ``BadMessage`` with everything that is wrong with it."""
    file = raw.get("file")
    if not isinstance(file, Mapping):
        raise BadMessage([Problem("file", "is missing: this is not a job that came from a file")])
    path = Path(str(file.get("path", "")))
    broken = raw.get("broken")
    if isinstance(broken, (list, tuple)):
        raise BadMessage([Problem(*map(str, each)) for each in broken], path.name)
    fields = Fields(raw.get("described"))
    fields.raise_problems(path.name)
    return _Description(fields, path, str(file.get("origin", ""))).read()


@frozen
class _Description:
    fields: Fields
    path: Path
    origin: str

    def read(self) -> Job:
        fields, job_id = self.fields, self._id()
        transformation, *arguments = self._program()
        inputs = self._files("inputs", _read_input, "source")
        outputs = self._files("outputs", _read_output, "name")
        logs = self._log(job_id)
        checkpoint = self._checkpoint()
        saved = [("checkpoint", checkpoint.file)] if checkpoint else []
        self._refuse_doubles((*inputs, *outputs, *logs, *saved))
        before = (checkpoint.before,) if checkpoint and checkpoint.before else ()
        job = Job(
            id=job_id,
            attempt=fields.number("attempt", 1, most=2**31 - 1) or 0,
            transformation=transformation,
            arguments=tuple(arguments),
            environment=self._environment(),
            inputs=(*(file for _, file in inputs), *before),
            outputs=tuple(file for _, file in outputs),
            log=next((file for _, file in logs), None),
            checkpoint=checkpoint,
            needs=self._needs(),
            image=fields.text("image"),
            task=fields.text("task"),
            label=fields.text("label"),
            options=self._options(),
            origin=self.origin,
        )
        job = self._limited(job)
        fields.values("wire")
        fields.refuse_unknown()
        fields.raise_problems(self.path.name)
        return job

    def _id(self) -> str:
        given = self.fields.text("id")
        made = re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.stem).strip("-._")[:LONGEST_ID]
        job_id = given or made or "job"
        if not _ID.fullmatch(job_id):
            told = f"{shown(job_id)} wants letters, digits, '.', '_' and '-', a letter or digit first"
            self.fields.problem("id", told)
        elif len(job_id) > LONGEST_ID:
            self.fields.problem("id", f"has {len(job_id)} characters; {LONGEST_ID} are allowed")
        elif ".control" in job_id:
            self.fields.problem("id", f"{shown(job_id)} holds '.control', which ends another directory's name")
        return job_id

    def _program(self) -> tuple[str, ...]:
        fields = self.fields
        script = fields.text("script", lines=True)
        command = fields.texts("command", "a list of program and arguments (shell text goes into 'script')", lines=True)
        has_script, has_command = fields.value("script") is not None, fields.value("command") is not None
        if has_script and has_command:
            fields.problem("script", "stands beside 'command'; a job has one of them, remove the other")
        elif has_script:
            if not script.strip():
                fields.problem("script", "is empty; write what /bin/sh is to run")
            if len(script.encode(errors="replace")) > LONGEST_SCRIPT:
                fields.problem("script", f"is longer than {LONGEST_SCRIPT} bytes; bring it as an input and run that")
            return "/bin/sh", "-c", script
        elif not has_command:
            fields.problem("command", "is missing; write 'command: [program, argument]' or 'script:' with shell text")
        elif isinstance(fields.value("command"), (list, tuple)) and not any(command[:1]):
            fields.problem("command", "wants a list that begins with a program; for shell text there is 'script'")
        return command or ("",)

    def _environment(self) -> Mapping[str, str]:
        table = self.fields.table("environment")
        for name in table:
            if not _VARIABLE.fullmatch(name):
                told = f"{shown(name)} cannot name a variable, which takes letters, digits and '_'"
                self.fields.problem("environment", told)
        return table

    def _needs(self) -> Resources:
        fields = self.fields.fields("needs") or Fields({}, problems=self.fields.problems)
        needs = Resources(
            cores=fields.number("cores", 1, least=1, most=10**6) or 1,
            memory_b=fields.size("memory"),
            disk_b=fields.size("disk"),
            gpu_count=fields.number("gpus", 0, most=10**4) or 0,
        )
        fields.refuse_unknown()
        return needs

    def _limited(self, job: Job) -> Job:
        fields = self.fields.fields("limits") or Fields({}, problems=self.fields.problems)
        wall_s, looping_s = fields.duration("wall"), fields.duration("looping")
        for name, limit_s in (("wall", wall_s), ("looping", looping_s)):
            if limit_s == 0:
                fields.problem(name, "is 0; write a time such as '2 h', or leave it out")
        fields.refuse_unknown()
        return evolve(job, wall_limit_s=wall_s, looping_limit_s=looping_s)

    def _options(self) -> Mapping[str, object]:
        options = self.fields.values("options")
        for path in options:
            if not _SETTING.fullmatch(path):
                self.fields.problem("options", f"{shown(path)} is no option; write 'section.name'")
        return options

    # --- files ---

    def _files(self, name: str, read: Callable[[Fields, Path], FileSpec], alone: str) -> list[tuple[str, FileSpec]]:
        """Each file with its place; a plain text stands for the one field ``alone``."""
        items = self.fields.items(name, "a list of files")
        return [(place, self._file(place, value, read, alone)) for place, value in items]

    def _log(self, job_id: str) -> list[tuple[str, FileSpec]]:
        value = self.fields.value("log")
        if value is None:
            return []
        read = partial(_read_stored, name=f"{job_id}.log.tar.gz", replace=True)
        spec = self._file("log", value, read, "name")
        if spec.lfn and not _ARCHIVE.search(spec.lfn):
            self.fields.problem("log.name", f"{shown(spec.lfn)} names no archive; write one such as 'my.log.tar.gz'")
        return [("log", spec)]

    def _checkpoint(self) -> Checkpoint | None:
        """A plain text stands for its name."""
        value = self.fields.value("checkpoint")
        if value is None:
            return None
        fields = self.fields.inner("checkpoint", {"name": value} if isinstance(value, str) else value)
        source, warning_s = fields.text("source"), fields.duration("warning")
        spec = _read_stored(fields, self.path.parent, replace=True)
        fields.refuse_unknown()
        _check_name(fields, spec)
        if spec.lfn and not _ARCHIVE.search(spec.lfn):
            fields.problem("name", f"{shown(spec.lfn)} names no archive; write one such as 'state.tar.gz'")
        before = FileSpec(
            lfn=checkpoint_before(spec.lfn), replicas=(Replica(_place(source, self.path.parent), spec.endpoint),)
        )
        known = Checkpoint(file=spec, before=before if source else None)
        return known if warning_s is None else evolve(known, warning_s=warning_s)

    def _file(self, place: str, value: object, read: Callable[[Fields, Path], FileSpec], alone: str) -> FileSpec:
        if not isinstance(value, (str, Mapping)):
            self.fields.problem(place, f"wants the name of a file or a mapping, not {shown(value)}")
            return FileSpec(lfn="")
        fields = self.fields.inner(place, {alone: value} if isinstance(value, str) else value)
        spec = read(fields, self.path.parent)
        fields.refuse_unknown()
        _check_name(fields, spec)
        return spec

    def _refuse_doubles(self, files: Iterable[tuple[str, FileSpec]]) -> None:
        """No two files of a job share a name, and no input is written over by the payload's own words."""
        holders = dict.fromkeys(OWN_FILES, "what the payload says")
        for place, file in files:
            if file.lfn in OWN_FILES and place.startswith("outputs"):
                continue
            holder = holders.setdefault(file.lfn, place)
            if file.lfn and holder != place:
                told = f"{shown(file.lfn)} is the name of {holder} already; choose another"
                self.fields.problem(f"{place}.name", told)


def _check_name(fields: Fields, spec: FileSpec) -> None:
    try:
        safe_name(spec.lfn or "nameless")
    except UnsafeName as unsafe:
        fields.problem("name", f"{shown(spec.lfn)} cannot name a file: {unsafe.why}; choose another")


def _read_input(fields: Fields, directory: Path) -> FileSpec:
    source = fields.text("source")
    name = fields.text("name") or source.rstrip("/").rpartition("/")[2]
    if not name:
        fields.problem("name", "is missing; write the name that the payload will find, or a 'source' that ends with it")
    spec = _identified(fields, name)
    replicas = (Replica(_place(source, directory), spec.endpoint),) if source else ()
    return evolve(spec, size_b=fields.size("size"), checksum=_checksum(fields), replicas=replicas)


def _read_output(fields: Fields, directory: Path) -> FileSpec:
    spec = _read_stored(fields, directory)
    return evolve(spec, optional=fields.flag("optional"), always=fields.flag("always"))


def _read_stored(fields: Fields, directory: Path, name: str = "", replace: bool = False) -> FileSpec:
    name = fields.text("name", name, required=not name)
    if fields.value("name") == "":
        fields.problem("name", "is empty; write the name of the file that the payload makes")
    spec = evolve(_identified(fields, name), replace=fields.flag("replace", replace))
    destination = fields.text("destination")
    if not destination:
        return spec
    place = _place(destination, directory) + (name if destination.endswith("/") else "")
    return evolve(spec, replicas=(Replica(place, spec.endpoint),))


def _identified(fields: Fields, name: str) -> FileSpec:
    return FileSpec(
        lfn=name,
        scope=fields.text("scope"),
        guid=fields.text("guid"),
        dataset=fields.text("dataset"),
        endpoint=fields.text("endpoint"),
    )


def _place(written: str, directory: Path) -> str:
    """A URL as it is, a path as seen from the file that names it."""
    if "://" in written or written.startswith("file:"):
        return written
    return str(directory / written) + ("/" if written.endswith("/") else "")


def _checksum(fields: Fields) -> Checksum | None:
    written = fields.text("checksum")
    try:
        return Checksum.parse(written) if written else None
    except ValueError as error:
        fields.problem("checksum", f"{str(error)[:200]}; write 'adler32:1a2b3c4d' or 'md5:...'")
        return None

"""The plugin "rucio": what Rucio answers to the core, where queue or experiment names a server of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pilot_copytools.rucio.settings import RucioOptions
from pilot_core.sdk import (
    Attempt,
    FileSpec,
    Job,
    JobKey,
    Patch,
    PilotError,
    PilotOptions,
    Queue,
    Receipt,
    Replica,
    Settings,
    hookimpl,
)


class Plugin:
    """Rucio's answers."""

    def __init__(self) -> None:
        self._reporting: RucioOptions | None = None

    @hookimpl
    def pilot_config_sections(self) -> Sequence[type]:
        """Name the options."""
        return (RucioOptions,)

    @hookimpl
    def pilot_config_unused(self, settings: Settings) -> Collection[str]:
        """Answer nothing where no server is named."""
        options = settings.of(RucioOptions)
        reports = options.traces and bool(options.host or options.trace_url)
        used = {
            "pilot_job_extras": bool(options.host),
            "pilot_inputs_replicas": bool(options.host),
            "pilot_outputs_replicas": bool(options.host),
            "pilot_outputs_sign": bool(options.host),
            "pilot_outputs_register": options.register and bool(options.host),
            "pilot_started": reports and options.spool is not None,
            "pilot_transfer_tried": reports,
            "pilot_report_fields": reports,
            "pilot_ended": reports,
        }
        return [name for name, is_used in used.items() if not is_used]

    @hookimpl
    def pilot_job_extras(self, wire: Mapping[str, object]) -> Mapping[JobKey[bool], bool]:
        """Read whether the server has chosen caches for the job's inputs."""
        if str(wire.get("useVP", "")).lower() != "true":
            return {}
        from pilot_copytools.rucio.replicas import PLACED_VIRTUALLY

        return {PLACED_VIRTUALLY: True}

    @hookimpl
    def pilot_inputs_replicas(self, job: Job, settings: Settings) -> Mapping[str, Sequence[Replica]] | None:
        """Ask the catalogue."""
        from pilot_copytools.rucio.replicas import list_replicas
        from pilot_copytools.rucio.server import server_of

        placeless = [file for file in job.inputs if not file.replicas]
        return list_replicas(server_of(settings.of(RucioOptions)), placeless, job) or None

    @hookimpl
    def pilot_outputs_replicas(
        self, files: Sequence[FileSpec], queue: Queue, settings: Settings
    ) -> Mapping[str, Sequence[Replica] | PilotError] | None:
        """Make names by the catalogue's rules."""
        from pilot_copytools.rucio.names import destinations, wanted
        from pilot_copytools.rucio.server import server_of

        options = settings.of(RucioOptions)
        named = wanted(files, queue, options)
        return (destinations(server_of(options), named, queue) or None) if named else None

    @hookimpl
    def pilot_outputs_sign(
        self, replicas: Mapping[str, Sequence[Replica]], settings: Settings
    ) -> Mapping[str, Sequence[Replica] | PilotError] | None:
        """Have the server sign for its object stores."""
        from pilot_copytools.rucio.server import server_of
        from pilot_copytools.rucio.signs import signed

        return signed(server_of(settings.of(RucioOptions)), replicas) or None

    @hookimpl
    def pilot_outputs_register(
        self, job: Job, receipts: Sequence[Receipt], settings: Settings
    ) -> Mapping[str, PilotError]:
        """Enter them as replicas."""
        from pilot_copytools.rucio.registers import register
        from pilot_copytools.rucio.server import server_of

        return register(server_of(settings.of(RucioOptions)), job, receipts)

    @hookimpl
    def pilot_started(self, settings: Settings) -> None:
        """Send what an earlier pilot could not."""
        from pilot_copytools.rucio.traces import sender_of

        self._reporting = settings.of(RucioOptions)
        sender_of(self._reporting).take_up()

    @hookimpl
    def pilot_transfer_tried(self, job: Job, attempt: Attempt, settings: Settings) -> None:
        """Have it reported."""
        from pilot_copytools.rucio.traces import NEEDED, sender_of, trace_of

        self._reporting = options = settings.of(RucioOptions)
        trace = trace_of(job, attempt, settings.of(PilotOptions).queue, options)
        if all(trace.get(name) for name in NEEDED):
            sender_of(options).give(trace)

    @hookimpl
    def pilot_report_fields(self, final: bool) -> Sequence[Patch]:
        """Count the reports that Rucio did not take."""
        if not final or self._reporting is None:
            return ()
        from pilot_copytools.rucio.traces import sender_of

        behind = sender_of(self._reporting).behind
        return [Patch.append("job_metrics", f"rucioTraceError={behind}", between=" ")] if behind else ()

    @hookimpl
    def pilot_ended(self) -> None:
        """Send the last reports."""
        from pilot_copytools.rucio.traces import sender_of

        if self._reporting is not None:
            sender_of(self._reporting).end()


plugin = Plugin()

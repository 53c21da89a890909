"""The plugin that says where files lie and go from what is known of queue and storages.

Which places a queue allows and prefers holds for whatever a catalogue tells as well; a catalogue's own plugin is asked
for places first. Without a word about storage in the queue's data nothing is said here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from pilot_core.sdk import FileSpec, Job, PilotError, Queue, Replica, Settings, hookimpl, option


@frozen(kw_only=True)
class PlacesOptions:
    """How places of files are chosen from the data of queue and storages."""

    section = "places"

    historic: bool = option(
        True, help="Where a queue names no copy tools for read_lan or write_lan, those for pr or pw count."
    )
    forced: bool = option(
        True, help="A job that forces alternative stage-out gets it, even where the queue does not allow it."
    )
    direct_lan: tuple[str, ...] = option(
        ("root", "dcache", "dcap", "file", "https"), help="Schemes by which a payload reads files of the site's own."
    )
    direct_wan: tuple[str, ...] = option(("root", "https"), help="Schemes by which a payload reads files from afar.")


@hookimpl
def pilot_config_sections() -> Sequence[type]:
    """How places are chosen."""
    return (PlacesOptions,)


@hookimpl
def pilot_inputs_replicas(job: Job, queue: Queue) -> Mapping[str, Sequence[Replica]] | None:
    """Look where the storages keep the files that come without a place."""
    if not _are_sought(job.inputs, queue):
        return None
    from pilot_core.builtin.places.inputs import sources

    return sources(job, queue) or None


@hookimpl
def pilot_inputs_rank(
    job: Job, queue: Queue, replicas: Mapping[str, Sequence[Replica]], settings: Settings
) -> Mapping[str, Sequence[Replica] | PilotError] | None:
    """Keep what the queue allows, the nearest first."""
    from pilot_core.builtin.places.inputs import ranked

    return ranked(job, queue, replicas, settings.of(PlacesOptions))


@hookimpl
def pilot_outputs_replicas(
    job: Job, files: Sequence[FileSpec], queue: Queue, settings: Settings
) -> Mapping[str, Sequence[Replica] | PilotError] | None:
    """Put files without a place into the storage that the queue has for them, and else into another."""
    if not _are_sought(files, queue):
        return None
    from pilot_core.builtin.places.outputs import destinations

    return destinations(job, files, queue, settings) or None


def _are_sought(files: Sequence[FileSpec], queue: Queue) -> bool:
    """Whether any file has no place, and somebody named a storage."""
    listed = bool(queue.params.get("astorages"))
    return any(not file.replicas and (listed or file.endpoint) for file in files)

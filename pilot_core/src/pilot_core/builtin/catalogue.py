"""The plugin that writes the pool file catalogue, by which a payload finds its inputs under their GUIDs.

It is written where a job gives any of its inputs a GUID, or where any is read where it lies. An input without one, or
with one that another has, gets one that is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pilot_core.sdk import FileSpec, Job, Replica, hookimpl

NAME: Final = "PoolFileCatalog.xml"
_BEGIN: Final = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE POOLFILECATALOG SYSTEM "InMemory">
<POOLFILECATALOG>
"""
_FILE: Final = """  <File ID={guid}>
    <physical>
      <pfn filetype="ROOT_All" name={name}/>
    </physical>
    <logical/>
  </File>
"""
_END: Final = "</POOLFILECATALOG>\n"


@hookimpl
def pilot_inputs_staged(job: Job, workdir: Path, direct: Mapping[str, Replica]) -> Mapping[str, str]:
    """Write the catalogue."""
    there = [file for file in job.inputs if file.lfn in direct or (workdir / file.local).exists()]
    if not direct and not any(file.guid for file in there):
        return {}
    return {NAME: catalogue(there, {name: place.url for name, place in direct.items()})}


def catalogue(files: list[FileSpec], urls: Mapping[str, str]) -> str:
    """The catalogue of these files, those under their URLs that have one."""
    from xml.sax.saxutils import quoteattr

    entries = [
        _FILE.format(guid=quoteattr(guid), name=quoteattr(urls.get(file.lfn, file.local)))
        for guid, file in _identified(files)
    ]
    return "".join((_BEGIN, *entries, _END))


def _identified(files: list[FileSpec]) -> Iterator[tuple[str, FileSpec]]:
    """Each file under a GUID of its own."""
    from uuid import NAMESPACE_URL, uuid5

    taken: set[str] = set()
    for file in files:
        guid = file.guid.strip().upper()
        if not guid or guid in taken:
            guid = str(uuid5(NAMESPACE_URL, f"{file.scope}:{file.lfn}")).upper()
        taken.add(guid)
        yield guid, file

"""A small CVMFS whose scripts do what those of the real one do, a web server, and pilots that use both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pilot_atlas.options import AtlasOptions

ALRB = """\
# Sourced. With -c it "starts a container": the job's directory takes the place of /srv.
if [ "$1" = --quiet ]; then
  export AtlasSetup="$ATLAS_LOCAL_ROOT_BASE/../AtlasSetup"
  return 0
fi
echo "alrb" "$@" >> "$PWD/alrb.told"
platform=; setup=; script=
while [ $# -gt 0 ]; do
  case "$1" in
    -c) platform=$2; shift;;
    -s) setup=$2; shift;;
    -r) script=$2; shift;;
    -e) shift;;
  esac
  shift
done
if [ "$platform" = broken ]; then
  echo "FATAL:   while extracting broken: root filesystem extraction failed" >&2
  exit 255
fi
for each in "$setup" "$script" /srv/.pilot/payload.env; do
  sed -i "s#/srv#$PWD#g" "$PWD/${each#/srv/}"
done
export AtlasSetup="$ATLAS_LOCAL_ROOT_BASE/../AtlasSetup" ALRB_PLATFORM="$platform"
. "$PWD/${setup#/srv/}"
. "$PWD/${script#/srv/}"
"""
ASETUP = """\
# Sourced: what it is told names the directory of the release.
echo "asetup $*"
folder=$(echo "$1" | tr , /)
folder=${folder%/notest}
if [ ! -d "$AtlasSetup/../releases/$folder" ]; then
  echo "AtlasSetup(ERROR): No release candidates found" >&2
  return 3
fi
if [ -e "$AtlasSetup/../releases/$folder/broken.py" ]; then return 5; fi
export AtlasRelease="$folder" PATH="$AtlasSetup/../releases/$folder:$PATH"
"""


def make_cvmfs(root: Path) -> Path:
    """ALRB, `asetup`, the stamps of every mount, and no release yet."""
    repository = root / "atlas.cern.ch/repo"
    for path, text in {
        "ATLASLocalRootBase/user/atlasLocalSetup.sh": ALRB,
        "AtlasSetup/scripts/asetup.sh": ASETUP,
    }.items():
        (repository / path).parent.mkdir(parents=True)
        (repository / path).write_text(text)
    (repository / "sw").mkdir()
    for each in AtlasOptions().mounts:
        if each.endswith("lastUpdate"):
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            (root / each).write_text("1|repository|1763761200|node\n")
    return root


def put_release(root: Path, name: str, **programs: str) -> None:
    """``put_release(cvmfs, "AthSimulation/23.0.53", Sim_tf="a shell script")``."""
    folder = root / "atlas.cern.ch/repo/releases" / name
    folder.mkdir(parents=True)
    for program, script in programs.items():
        path = folder / f"{program}.py"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)


# --- a web server -----------------------------------------------------------------------------------------------------


class Shelf(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, body, headers = self.server.shelf.get(self.path, (404, b"<html>not here</html>", {}))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None:
        """Nobody reads it."""


@contextmanager
def web_server() -> Iterator[ThreadingHTTPServer]:
    """``web.put("/trf/user/x", b"...")``, ``web.url``, ``web.asked``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    server.shelf, server.asked = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.put = lambda path, body, status=200, **headers: server.shelf.update({path: (status, body, headers)})
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# --- a whole pilot ----------------------------------------------------------------------------------------------------

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}


class Desk:
    """Runs the installed command for one job of PanDA's, which lies in a file as a batch system's job finds it."""

    def __init__(self, root: Path, cvmfs: Path) -> None:
        self.root, self.cvmfs, self.store = root, cvmfs, root / "store"
        self.work = root / "work"
        for folder in (self.store, self.work):
            folder.mkdir()

    def run(self, wire: Mapping[str, object], queue: Mapping[str, object] | None = None, **more) -> dict[str, object]:
        """The record of the job when its pilot has ended; nothing if it took none."""
        (self.root / "pandaJobData.out").write_text(json.dumps(self.complete(wire)))
        (self.root / "queues.json").write_text(
            json.dumps({"Q": {"state": "ACTIVE", "status": "online", **(queue or {})}})
        )
        site = self.settings(more)
        (self.root / "site.json").write_text(json.dumps(site))
        command = [sys.executable, "-m", "pilot_core", "run", "--config", str(self.root / "site.json")]
        pilot = subprocess.run(
            [*command, "--workdir", str(self.work)],
            env=CLEAN,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.said, self.exit_code = pilot.stdout + pilot.stderr, pilot.returncode
        records = [json.loads(path.read_text()) for path in self.work.glob("PanDA_Pilot-*.control/record.json")]
        return records[0] if records else {}

    def settings(self, more: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
        """The site's file; nothing in it names a server."""
        usual = {
            "bootstrap": {"experiment": "atlas"},
            "connection": {"url": [], "info_sources": ["file"]},
            "queue_file": {"path": str(self.root / "queues.json")},
            "pilot": {"communicator": "pandafile", "queue": "Q"},
            "pandafile": {"path": str(self.root / "pandaJobData.out")},
            "slot": {"cores": 8, "free_disk_b": 0},
            "data": {"reserve_b": 0},
            "rucio": {"host": "", "trace_url": "", "traces": False},
            "atlas": {"cvmfs": str(self.cvmfs), "transform_pause_s": 0},
        }
        return {name: {**usual.get(name, {}), **more.get(name, {})} for name in (*usual, *(more.keys() - usual.keys()))}

    def body(self) -> dict[str, object]:
        """The last word to the server."""
        (path,) = self.work.glob("PanDA_Pilot-*.control/final.json")
        told: dict[str, object] = json.loads(path.read_text())["body"]
        return told

    def complete(self, wire: Mapping[str, object]) -> dict[str, object]:
        """The message with the fields that every job has, and places for its files."""
        names = [name for name in str(wire.get("outFiles", "job.log.tgz")).split(",") if name]
        return {
            "StatusCode": 0,
            "PandaID": 7100000001,
            "attemptNr": 1,
            "taskID": 40222333,
            "prodSourceLabel": "managed",
            "outFiles": ",".join(names),
            "logFile": names[-1],
            "scopeOut": ",".join("s" for _ in names[:-1]),
            "scopeLog": "s",
            "destinations": {name: str(self.store / name) for name in names},
            **wire,
        }

"""The profiles of the manual, each with a stand-in for its software, run by real pilots.

The roots that a profile names (``/cvmfs``, ``/opt``, shared file systems) lie in the test's own directory; not a word
of a profile is changed otherwise.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pilot_core.builtin.containers.bubblewrap import Bubblewrap

PROFILES = Path(__file__).parents[2] / "docs" / "profiles"
SOFTWARE = Path(__file__).parent / "software"
ROOTS = re.compile(r"(?<![\w.:/])/(?=cvmfs|opt|sphenix|volatile)")
HERE = (
    *("connection.info_sources=file", "log.shippers=", "monitor.sample_s=0.2", "payload.grace_s=1"),
    *("slot.cores=8", "slot.free_disk_b=0"),
)


class Node:
    """A node that has an experiment's software, and pilots with its profile."""

    def __init__(self, site, name):
        self.site, self.root = site, site.root / "node"
        shutil.copytree(SOFTWARE, self.root, copy_function=shutil.copy2)
        self.profile = site.root / f"{name}.yaml"
        self.profile.write_text(ROOTS.sub(f"{self.root}/", (PROFILES / f"{name}.yaml").read_text()))

    def file(self, name, content):
        """An input."""
        path = self.site.root / name
        path.write_text(content)
        return {"source": str(path)}

    def run(self, *arguments, outputs=(), inputs=(), settings=(), wire=None, **more):
        """The report of a job with these arguments."""
        name = str(more.get("id", "one"))
        job = {"id": name, "command": ["program", *arguments], "log": "log.tgz", "inputs": [*inputs], **more}
        job |= {"outputs": [*outputs], "wire": wire or {}}
        (self.site.box / f"{name}.json").write_text(json.dumps(job))
        words = [word for each in (*HERE, f"data.output_dir={self.site.store}", *settings) for word in ("--set", each)]
        pilot = self.site.start(
            *("run", "--filebox", str(self.site.box), "--workdir", str(self.site.work)),
            *("--profile", str(self.profile), *words),
        )
        self.said, _ = pilot.communicate(timeout=120)
        assert (self.site.box / "reports" / f"{name}.json").exists(), self.said
        return self.site.report(name)

    def stored(self):
        """The names in the store, without the log."""
        return sorted({path.name for path in self.site.store.iterdir()} - {"log.tgz"})

    def logged(self):
        """The names in the log archive."""
        with tarfile.open(self.site.store / "log.tgz") as log:
            return {name.partition("/")[2] for name in log.getnames()}


@pytest.fixture
def node(site):
    return partial(Node, site)


def failure(report):
    """Number, kind and fault of a failed job, its exit code, and in words what happened."""
    assert report["state"] == "failed", report
    error, facts = report["error"], report["error"]["facts"]
    return error["number"], facts.get("class"), facts.get("fault"), facts.get("trf"), error["detail"]


def finished(node, report):
    assert report["state"] == "finished", (node.said, report)


# --- sPHENIX ---

DST = {"name": r"regex|DST_.*\.root", "dataset": "DST_TRKR_run3", "scope": "prod"}
SPHENIX = {"swRelease": "ana.425", "runNumber": 53877}


def run_sphenix(here, macro, **wire):
    return here.run(outputs=[DST], wire=SPHENIX | wire, command=["root.exe", "-b", "-q", macro])


def test_sphenix_outputs_are_found_by_pattern_and_moved_to_their_place(node):
    """data:D-16"""
    here = node("sphenix")
    finished(here, run_sphenix(here, 'Fun4All.C(10,"two words")'))
    production = here.root / "sphenix/lustre01/production/DST_TRKR_run3/run_53877"
    assert sorted(path.name for path in production.iterdir()) == ["DST_TRKR-53877-0.root", "DST_TRKR-53877-1.root"]
    assert {path.stat().st_nlink for path in production.iterdir()} == {1}
    assert os.listdir(here.root / "sphenix/lustre01/histograms/run_53877") == ["one.HIST_QA-53877.root"]
    assert "payload.stdout" in here.logged()
    assert not {name for name in here.logged() if name.endswith((".so", ".root"))}


def test_sphenix_failures_are_known_by_their_words(node):
    report = run_sphenix(node("sphenix"), "broken.C")
    assert failure(report)[:4] == (1305, "input", "payload", 1)
    assert "The conditions database has no TPC_GAIN under the tag ProdA_2024" in failure(report)[4]


def test_sphenix_a_build_that_is_not_there_fails_the_set_up(node):
    report = run_sphenix(node("sphenix"), "Fun4All.C", swRelease="gone")
    assert failure(report)[0] == 1110
    assert "step 1 of the payload's set-up failed" in failure(report)[4]


def test_sphenix_a_job_without_its_run_is_refused(node):
    report = run_sphenix(node("sphenix"), "Fun4All.C", runNumber=None)
    assert failure(report)[0] == 1110
    assert "the job has no 'runNumber', which the profile calls run" in failure(report)[4]


# --- COMPASS ---

COMPASS = {"runNumber": 291002, "chunkNumber": "007", "prodSlot": "slot7"}


def run_compass(here, raw):
    options = here.file("template.mu+.opt", "// options\nDataFile raw/chunk.raw\n")
    return here.run(inputs=[options, here.file("cdr11007-291002.raw", raw)], wire=COMPASS)


def test_compass_raw_data_become_an_mdst(node):
    here = node("compass")
    finished(here, run_compass(here, "1 ok\n2 ok\n"))
    assert here.stored() == ["291002-007-Coral.hist.root", "evtdump-291002-007.raw.gz", "mDST-291002-007-slot7.root"]
    assert (here.site.store / "mDST-291002-007-slot7.root").read_text() == "1 tracks\n2 tracks\n"
    assert {"options.stdout", "pack.stdout", "coral.opt"} >= {"coral.opt"} - here.logged()
    assert not {name for name in here.logged() if name.startswith("raw/") or name.endswith(".root")}


def test_compass_a_damaged_chunk_is_not_tried_again(node):
    report = run_compass(node("compass"), "1 ok\n2 damaged\n")
    assert failure(report)[:4] == (1305, "input", "payload", 134)
    assert report["error"]["facts"]["retry"] == "never"
    assert "Event 2 of the raw data cannot be decoded (bad source header)" in failure(report)[4]


# --- IceCube ---

ICECUBE = {"datasetNumber": 22644, "jobNumber": 17, "seed": 5}
GCD = {"name": "GeoCalibDetectorStatus_2020.i3.gz", "source": "/nowhere/GeoCalibDetectorStatus_2020.i3.gz"}


def test_icecube_photons_become_hits(node):
    here = node("icecube")
    finished(here, here.run(inputs=[GCD, here.file("level0.000017.i3.zst", "frames")], wire=ICECUBE, command=["ppc"]))
    assert here.stored() == ["22644.17.summary1.json", "IC86.22644.17.i3.zst"]
    summary = json.loads((here.site.store / "22644.17.summary1.json").read_text())
    assert (summary["seed"], summary["read"]) == ("5", 6)
    assert summary["build"] == str(here.root / "cvmfs/icecube.opensciencegrid.org/py3-v4.3.0")


def test_icecube_a_broken_gpu_is_the_nodes_fault_and_the_summary_is_kept(node):
    here = node("icecube")
    report = here.run("--broken-gpu", inputs=[here.file("l0.i3.zst", "frames")], wire=ICECUBE)
    assert failure(report)[:4] == (1305, "node", "site", 42)
    assert report["error"]["facts"]["retry"] == "elsewhere"
    assert here.stored() == ["22644.17.summary1.json"]


# --- Lattice QCD ---


def run_lattice(here, **given):
    told = "".join(f"{name} {value}\n" for name, value in {"name": "b3.4", "first": 12, **given}.items())
    inputs = [here.file("hmc.in", told), here.file("b3.4n11", "configuration 11")]
    return here.run(inputs=inputs, wire={"ensembleName": "b3.4"}, needs={"cores": 2})


def test_lattice_ranks_go_on_from_the_last_configuration(node):
    here = node("lattice")
    finished(here, run_lattice(here))
    assert here.stored() == [
        *("b3.4.b3.4n12", "b3.4.one.plaquette.dat", "b3.4.one.rank0.log", "b3.4.one.rank1.log"),
    ]
    assert (here.site.store / "b3.4.b3.4n12").read_text() == "configuration 11 and one trajectory"


def test_lattice_a_rank_that_fails_ends_all_and_its_logs_are_kept(node):
    here = node("lattice")
    report = run_lattice(here, solver="stuck")
    assert failure(report)[:4] == (1305, "program", "payload", 6)
    assert "The solver sap_gcr did not converge in 512 steps" in failure(report)[4]
    assert "b3.4.one.rank1.log" in here.stored()
    assert not any(name.startswith("cnfg/") for name in here.logged())


# --- molecular dynamics ---


def run_dynamics(here, steps, **more):
    return here.run(inputs=[here.file("protein.tpr", str(steps))], needs={"cores": 3}, **more)


def test_dynamics_threads_run_and_their_trajectory_is_stored(node):
    here = node("molecular_dynamics")
    finished(here, run_dynamics(here, 100))
    assert here.stored() == ["one.1.ener.edr", "one.1.md.log", "one.1.traj.xtc"]
    assert (here.site.store / "one.1.md.log").read_text() == "from step 0, 3 threads\nFinished mdrun\n"


def test_dynamics_the_state_is_saved_when_time_is_over_and_is_gone_on_from(node):
    here, state = node("molecular_dynamics"), {"name": "state.tgz", "warning": 600}
    saved = here.site.store / "state.tgz"
    first = run_dynamics(here, 150, limits={"wall": 600}, checkpoint={**state, "destination": str(saved)})
    assert (first["state"], first["error"]["acronym"], saved.exists()) == ("failed", "CHECKPOINTED", True)
    kept = here.site.store / "kept.tgz"
    saved.rename(kept)
    more = {"destination": str(saved), "source": str(kept)}
    finished(here, run_dynamics(here, 150, limits={"wall": 600}, checkpoint={**state, **more}, id="again"))
    assert (here.site.store / "again.1.md.log").read_text().splitlines()[0] == "from step 100, 3 threads"


def test_dynamics_a_system_that_blows_up_is_told_so(node):
    here = node("molecular_dynamics")
    report = run_dynamics(here, -1)
    assert failure(report)[:4] == (1305, "program", "payload", 1)
    assert "The system blew up at step 0, where its potential energy was nan" in failure(report)[4]
    assert here.stored() == ["one.1.md.log"]


# --- EIC ---

IMAGE = "cvmfs/singularity.opensciencegrid.org/eicweb/eic_xl:nightly"


def run_eic(here, *arguments, **wire):
    image = here.root / IMAGE
    image.parent.mkdir(parents=True)
    image.symlink_to("/")
    inputs = [here.file(f"pythia8_{number}.hepmc3.tree.root", f"event {number}\n") for number in (1, 2)]
    return here.run(*arguments, inputs=inputs, settings=["payload.container=bubblewrap"], wire=wire, task="t7")


@pytest.mark.skipif(bool(Bubblewrap.probe()), reason="bubblewrap does not start here")
def test_eic_simulation_and_reconstruction_run_in_the_image(node):
    here = node("eic")
    finished(here, run_eic(here))
    assert here.stored() == ["one.rec.edm4eic.root", "one.sim.edm4hep.root"]
    assert (here.site.store / "one.rec.edm4eic.root").read_text() == "reconstructed event 1\nreconstructed event 2\n"
    with tarfile.open(here.root / "volatile/eic/logs/t7/log.tgz") as log:
        assert any(name.endswith("simulate.stdout") for name in log.getnames())


@pytest.mark.skipif(bool(Bubblewrap.probe()), reason="bubblewrap does not start here")
def test_eic_an_event_that_takes_too_long_aborts(node):
    report = run_eic(node("eic"), "--slow")
    assert failure(report)[1:4] == ("program", "payload", 134)
    assert "An event took too long in the reconstruction, at event 17" in failure(report)[4]


@pytest.mark.skipif(bool(Bubblewrap.probe()), reason="bubblewrap does not start here")
def test_eic_what_fails_before_the_payload_is_named(node):
    report = run_eic(node("eic"), detector="epic_old")
    assert failure(report)[0] == 1356
    assert "simulate ended with exit code 3" in failure(report)[4]


# --- SKA ---


def run_ska(here, *arguments, table="visibilities", settings=()):
    measurement = here.site.root / "visibilities.ms"
    measurement.mkdir()
    if table:
        (measurement / "table.dat").write_text(table)
    with tarfile.open(here.site.root / "field7.ms.tar", "w") as packed:
        packed.add(measurement, "visibilities.ms")
    wire = {"fieldName": "EoR0", "nChannels": 4}
    inputs = [{"source": str(here.site.root / "field7.ms.tar")}]
    return here.run(*arguments, inputs=inputs, wire=wire, needs={"cores": 3}, settings=settings)


def test_ska_threads_make_an_image_which_is_checked(node):
    here = node("ska")
    finished(here, run_ska(here))
    assert here.stored() == ["EoR0.image.fits"]
    assert "EoR0 4 3 a library of the pipeline" in (here.site.store / "EoR0.image.fits").read_text()
    logged = here.logged()
    assert {"unpack.stdout", "watch-scratch.stdout", "check.stdout"} <= logged
    assert not any(name.startswith("visibilities.ms") or name.endswith(".tmp") for name in logged)


def test_ska_a_damaged_measurement_set_is_known_by_its_exit_code(node):
    report = run_ska(node("ska"), table="")
    assert failure(report)[:4] == (1305, "input", "payload", 3)
    assert "A table of the measurement set is missing or damaged (exit code 3)" in failure(report)[4]


def test_ska_too_much_memory_ends_it(node):
    report = run_ska(node("ska"), "60", settings=["memory.limit_b=90 MB"])
    assert failure(report)[0] == 1235


# --- DarkSide ---


@pytest.fixture
def server():
    """Addresses of a server that has no program, and of one that has all."""
    folders = (SOFTWARE / "cvmfs", SOFTWARE / "server")
    handlers = [partial(SimpleHTTPRequestHandler, directory=str(folder)) for folder in folders]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    threads = [Thread(target=each.serve_forever) for each in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{each.server_address[1]}" for each in servers]
    for each, thread in zip(servers, threads, strict=True):
        each.shutdown()
        each.server_close()
        thread.join()


def run_darkside(here, server, macro, program="trf/g4ds-11-00-01"):
    addresses = ("https://panda.example.org", "https://mirror.example.org/darkside")
    text = here.profile.read_text()
    for address, place in zip(addresses, server, strict=True):
        text = text.replace(address, place)
    here.profile.write_text(text)
    wire = {"nEvents": 40, "randomSeed": 99}
    return here.run(inputs=[here.file("argon.mac", macro)], command=[f"{server[0]}/{program}"], wire=wire)


def test_darkside_its_program_comes_from_the_server_that_has_it(node, server):
    here = node("darkside")
    finished(here, run_darkside(here, server, "/ds/generator/energy 1\n"))
    assert here.stored() == ["ds.99.out.fil", "ds.99.run_1.root", "ds.99.run_2.root"]
    assert (here.site.store / "ds.99.out.fil").stat().st_size == 40


def test_darkside_a_macro_that_is_wrong_is_known_by_its_exit_code(node, server):
    report = run_darkside(node("darkside"), server, "# nothing\n")
    assert failure(report)[:4] == (1305, "program", "payload", 11)


@pytest.mark.parametrize("program", ["elsewhere/g4ds-11-00-01", "trf/../secret"])
def test_darkside_a_program_from_elsewhere_is_refused(node, server, program):
    here = node("darkside")
    report = run_darkside(here, server, "/ds/generator\n", program)
    assert failure(report)[0] == 1149
    assert "is below none of the addresses allowed for programs" in failure(report)[4]

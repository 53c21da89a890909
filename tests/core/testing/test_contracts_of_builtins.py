"""The core's own drivers keep the contracts that it gives to others."""

from __future__ import annotations

import json
import socket

import pytest

from pilot_core.builtin import generic
from pilot_core.builtin.channel import VARIABLE, SocketChannel
from pilot_core.builtin.containers.apptainer import Apptainer, Singularity
from pilot_core.builtin.containers.bubblewrap import Bubblewrap
from pilot_core.builtin.containers.charliecloud import Charliecloud
from pilot_core.builtin.containers.none import NoContainer
from pilot_core.builtin.containers.podman import Podman
from pilot_core.builtin.direct import Direct, Node
from pilot_core.builtin.filebox import FileBox, JobFile
from pilot_core.builtin.monitors.disk import Disk
from pilot_core.builtin.monitors.looping import Looping
from pilot_core.builtin.monitors.memory import Memory
from pilot_core.builtin.monitors.walltime import WallTime
from pilot_core.builtin.sources import QueueFile
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Resources
from pilot_core.testing.contracts import drivers as contracts
from pilot_core.testing.contracts.plugin import PluginContract
from pilot_core.testing.contracts.workflow import WorkflowContract
from pilot_core.workflows.payload_stageout import PayloadStageOut
from pilot_core.workflows.stagein import StageIn
from pilot_core.workflows.standard import Standard


class _Described(contracts.CommunicatorContract):
    @pytest.fixture
    def _box(self, tmp_path):
        self.box = tmp_path / "box"
        self.box.mkdir()
        self.file = self.box / "a.json"
        self.file.write_text(json.dumps({"id": "a", "command": ["true"]}))

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path, request, _box):
        self.options = {f"{self.driver.name}.path": str(self.file if self.driver is JobFile else self.box)}
        self.here = tmp_path
        self.made = self.make()

    def raw_job(self):
        described = {"id": "a", "command": ["true"]}
        return {"file": {"path": str(self.file), "origin": str(self.file)}, "described": described}


class TestJobFile(_Described):
    driver = JobFile


class TestFileBox(_Described):
    driver = FileBox


class TestNoContainer(contracts.ContainerContract):
    driver = NoContainer
    image = ""


class TestBubblewrap(contracts.ContainerContract):
    driver = Bubblewrap
    image = "/usr"


class TestBubblewrapWithoutAnImage(TestBubblewrap):
    image = ""


class TestPodman(contracts.ContainerContract):
    driver = Podman


class TestCharliecloud(contracts.ContainerContract):
    driver = Charliecloud
    image = "/images/base.sqfs"


class TestApptainer(contracts.ContainerContract):
    driver = Apptainer


class TestSingularity(contracts.ContainerContract):
    driver = Singularity


class TestDirect(contracts.LauncherContract):
    driver = Direct


class TestNode(contracts.ResourceContract):
    driver = Node


class TestQueueFile(contracts.InfoSourceContract):
    driver = QueueFile
    known = "Q1"

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path):
        (tmp_path / "queues.json").write_text(json.dumps({"Q1": {"corecount": 8}}))
        self.options = {"queue_file.path": str(tmp_path / "queues.json")}
        self.made = self.make()


class TestSocketChannel(contracts.EventChannelContract):
    driver = SocketChannel

    def say(self, environment, message):
        said = socket.socket(socket.AF_UNIX)
        said.connect(environment[VARIABLE])
        said.sendall(f"{message}\n".encode())
        return said

    def hear(self, said):
        with said, said.makefile() as lines:
            return lines.readline().strip()


class TestDisk(contracts.MonitorContract):
    driver = Disk

    def bad_view(self):
        (self.here / "large").write_bytes(bytes(10**6))
        return self.view(job=Job(id="1", needs=Resources(disk_b=1000)), mono=10_000.0)


class TestMemory(contracts.MonitorContract):
    driver = Memory

    def bad_view(self):
        return self.view(job=Job(id="1", needs=Resources(memory_b=10**6)), usage=Usage(rss_b=10**9, rss_peak_b=10**9))


class TestWallTime(contracts.MonitorContract):
    driver = WallTime

    def bad_view(self):
        return self.view(job=Job(id="1", wall_limit_s=10.0), running_s=10_000.0, mono=10_000.0)


class TestLooping(contracts.MonitorContract):
    driver = Looping

    def bad_view(self):
        return self.view(job=Job(id="1", looping_limit_s=10.0), running_s=10**6, mono=10.0**6)


class TestStandard(WorkflowContract):
    driver = Standard


class TestStageIn(WorkflowContract):
    driver = StageIn


class TestPayloadStageOut(WorkflowContract):
    driver = PayloadStageOut


class TestGeneric(PluginContract):
    plugin = generic

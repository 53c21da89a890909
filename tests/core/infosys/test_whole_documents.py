"""A queue of a cloud without a shared file system, as a server tells of it, wholly."""

from __future__ import annotations

from pilot_core.infosys.catchall import Catchall
from pilot_core.infosys.queue import resolve
from pilot_core.model.queue import Queue, Storage
from pilot_core.spec.drivers import InfoSource

QUEUE = {
    "nickname": "EXAMPLE_K8S",
    "panda_resource": "EXAMPLE_K8S",
    "gstat": "EXAMPLE-CLOUD",
    "vo_name": "example",
    "type": "production",
    "resource_type": "cloud",
    "state": "ACTIVE",
    "status": "online",
    "corecount": 4,
    "cmtconfig": "",
    "appdir": "/opt/example",
    "environ": "OMP_NUM_THREADS=4",
    "catchall": "no_token_renewal remoteio_test=false",
    "container_type": "box:pilot",
    "container_options": "-B /scratch,${workdir}",
    "maxwdir": 20480,
    "maxinputsize": -1,
    "maxrss": 16000,
    "maxtime": 86400,
    "pledgedcpu": -1,
    "direct_access_lan": False,
    "allow_lan": True,
    "copytools": {"s3": {"setup": ""}, "gs": {"setup": ""}},
    "acopytools": {"default": ["s3"], "pl": ["s3", "gs"]},
    "acopytools_schemas": {"default": ["https", "s3", "gs"]},
    "astorages": {"read_lan": ["DATA"], "write_lan": ["OUT", "BACKUP"], "pl": ["OUT"]},
    "params": {"allow_altstageout": True, "job_maxwalltime": True, "pilot_maxwdir_grace": 10},
    "queues": [],
}
STORAGES = {
    "DATA": {"arprotocols": {"read_lan": [{"endpoint": "https://data.example.com:443", "path": "/bucket/store/"}]}},
    "OUT": {"arprotocols": {"write_lan": [{"endpoint": "https://s3.example.com:443/", "path": "bucket-out"}]}},
    "BACKUP": {"arprotocols": {"write_lan": [{"endpoint": "gs://", "path": "bucket-backup"}]}},
}


class Server(InfoSource):
    name = "server"

    def __init__(self) -> None: ...

    def queue(self, name):
        return QUEUE

    def storage(self, name):
        return STORAGES.get(name)


def test_a_cloud_queue(caplog):
    queue, layer = resolve("EXAMPLE_K8S", [Server()])
    taken = {
        "nickname",
        "state",
        "status",
        "corecount",
        "maxrss",
        "maxwdir",
        "maxtime",
        "environ",
        "params",
        "cmtconfig",
    }
    rest = {name: value for name, value in QUEUE.items() if name not in taken}
    assert queue == Queue(
        name="EXAMPLE_K8S",
        cores=4,
        memory_b=16 * 10**9,
        disk_b=20480 * 10**6,
        wall_limit_s=86400.0,
        copytools=("s3", "gs"),
        container="box",
        environment={"OMP_NUM_THREADS": "4"},
        storages={
            "DATA": Storage(name="DATA", protocols={"read_lan": ("https://data.example.com:443/bucket/store",)}),
            "OUT": Storage(name="OUT", protocols={"write_lan": ("https://s3.example.com:443/bucket-out",)}),
            "BACKUP": Storage(name="BACKUP", protocols={"write_lan": ("gs://bucket-backup",)}),
        },
        params={
            **rest,
            "container_type": {"pilot": "box"},
            "acopytools": {"default": ("s3",), "pl": ("s3", "gs")},
            "astorages": {"read_lan": ("DATA",), "write_lan": ("OUT", "BACKUP"), "pl": ("OUT",)},
            **QUEUE["params"],
        },
    )
    assert layer.values["disk"] == {"grace": 1.1}
    assert Catchall.of(queue).flag("no_token_renewal")
    assert not Catchall.of(queue).flag("remoteio_test", default=True)
    assert not caplog.records

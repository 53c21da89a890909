"""The S3 store keeps objects, checks signatures and digests, and honours signed URLs."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from . import s3 as servers
from .clients import done, run
from .conftest import insist


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return refused.value.response["Error"]["Code"]


def test_an_object_goes_in_and_comes_out(s3):
    client, body = s3.client(), os.urandom(300_000)
    client.put_object(Bucket=servers.BUCKET, Key="a/b", Body=body, Metadata={"adler32": "0a"})
    back = client.get_object(Bucket=servers.BUCKET, Key="a/b")
    with back["Body"] as stream:
        assert stream.read() == body
    assert back["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    assert back["Metadata"] == {"adler32": "0a"}


def test_it_checks_the_digest_of_what_comes(s3):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(ClientError) as refused:
        s3.client().put_object(Bucket=servers.BUCKET, Key="wrong", Body=b"this", ContentMD5=wrong)
    assert code(refused) in {"BadDigest", "InvalidDigest"}


def test_strangers_are_refused(s3):
    with pytest.raises(ClientError) as unknown:
        s3.client("nobody", "nothing").list_objects_v2(Bucket=servers.BUCKET)
    with pytest.raises(ClientError) as unsigned:
        s3.client(s3.key, "not the secret").list_objects_v2(Bucket=servers.BUCKET)
    with pytest.raises(ClientError) as reader:
        s3.client(*s3.reader).put_object(Bucket=servers.BUCKET, Key="no", Body=b"")
    assert [code(each) for each in (unknown, unsigned, reader)] == [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AccessDenied",
    ]


def test_signed_urls(s3, tmp_path):
    sign, where = s3.client().generate_presigned_url, {"Bucket": servers.BUCKET, "Key": "signed"}
    (tmp_path / "made").write_bytes(b"signed for")
    done("curl", "-fsS", "-T", tmp_path / "made", sign("put_object", where))
    url = sign("get_object", where)
    assert done("curl", "-fsS", url) == "signed for"
    assert "SignatureDoesNotMatch" in run("curl", "-sS", url[:-1] + ("0" if url[-1] != "0" else "1")).stdout


def test_down_leaves_nothing():
    insist(servers.lacks())
    with servers.s3() as server:
        home = server.daemons[0].log.parent
        assert home.exists()
    assert not home.exists()
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{server.port}.sock"))

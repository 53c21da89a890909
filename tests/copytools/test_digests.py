"""Digests in headers: as servers of all kinds tell them, and as ours are told."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_copytools._digests import asking_for, digests, telling
from pilot_core.io.checksum import Digest

MD5 = hashlib.md5(b"a").hexdigest()
MD5_64 = base64.b64encode(bytes.fromhex(MD5)).decode()
AMAZON = {"x-amz-request-id": "1"}


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"digest": "adler32=0a1b2c3d"}, {"adler32": "0a1b2c3d"}),
        ({"digest": "ADLER32=A1B2C3D"}, {"adler32": "0a1b2c3d"}),
        ({"digest": f"md5={MD5_64}, adler32=0a1b2c3d"}, {"md5": MD5, "adler32": "0a1b2c3d"}),
        ({"digest": f"md5={MD5}"}, {"md5": MD5}),
        ({"repr-digest": "adler=:ChssPQ==:"}, {"adler32": "0a1b2c3d"}),
        ({"x-goog-hash": f"crc32c=NT3Yvg==,md5={MD5_64}"}, {"crc32c": "353dd8be", "md5": MD5}),
        ({"oc-checksum": f"MD5:{MD5}"}, {"md5": MD5}),
        ({"x-amz-checksum-crc32c": "NT3Yvg=="}, {"crc32c": "353dd8be"}),
        ({"x-amz-checksum-crc32c": "NT3Yvg==-2"}, {}),
        ({**AMAZON, "etag": f'"{MD5}"'}, {"md5": MD5}),
        ({**AMAZON, "etag": f'"{MD5}-2"'}, {}),
        ({**AMAZON, "etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms"}, {}),
        ({"etag": f'"{MD5}"'}, {}),
        ({"digest": "unixsum=1,md5=nonsense,adler32=zz"}, {}),
        ({}, {}),
    ],
)
def test_what_servers_tell_is_read(headers, told):
    assert digests(headers) == told


@given(st.binary(max_size=100), st.sets(st.sampled_from(["adler32", "md5", "sha256"]), min_size=1))
def test_what_is_told_is_read_again(content, kinds):
    digest = Digest(kinds)
    digest.update(content)
    headers = {name.lower(): value for name, value in telling(digest.hexdigests()).items()}
    assert digests(headers) == digest.hexdigests()


@given(st.text(max_size=60))
def test_nothing_that_a_server_says_breaks_it(text):
    for header in ("digest", "repr-digest", "x-goog-hash", "etag", "x-amz-checksum-sha256"):
        assert set(digests({header: text, **AMAZON})) <= {"adler32", "md5", "sha256", "crc32c"}


def test_other_kinds_are_asked_for_first():
    assert asking_for("adler32")["Want-Digest"] == "adler32"
    assert asking_for("sha256") == {
        "Want-Digest": "sha-256,adler32;q=0.5",
        "Want-Repr-Digest": "sha-256=10,adler=5",
    }

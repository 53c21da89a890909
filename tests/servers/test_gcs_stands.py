"""The emulator of Google's storage takes and gives objects, and sums them."""

from __future__ import annotations

import base64
import hashlib
import json
import os

from . import gcs as servers
from .clients import done


def test_an_object_goes_in_and_comes_out(gcs, tmp_path):
    path = tmp_path / "made"
    path.write_bytes(body := os.urandom(100_000))
    by_media = f"{gcs.url}/upload/storage/v1/b/{servers.BUCKET}/o?uploadType=media&name=a%2Fb"
    made = json.loads(done("curl", "-fsS", "-X", "POST", "--data-binary", f"@{path}", by_media))
    assert made["md5Hash"] == base64.b64encode(hashlib.md5(body).digest()).decode()
    assert int(made["size"]) == len(body)
    media = f"{gcs.url}/storage/v1/b/{servers.BUCKET}/o/a%2Fb?alt=media"
    done("curl", "-fsS", "-o", tmp_path / "back", media)
    assert (tmp_path / "back").read_bytes() == body


def test_the_reference_client_finds_it(gcs):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    there = {"api_endpoint": gcs.url}
    client = storage.Client(project="pilot", credentials=AnonymousCredentials(), client_options=there)
    try:
        blob = client.bucket(servers.BUCKET).blob("by-client")
        blob.upload_from_string(b"123456789")
        assert blob.download_as_bytes() == b"123456789"
        blob.reload()
        assert base64.b64decode(blob.crc32c).hex() == "e3069283"
    finally:
        client.close()

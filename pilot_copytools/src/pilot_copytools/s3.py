"""The copy tool "s3": objects in stores that speak Amazon's S3.

A place is ``s3://HOST:PORT/BUCKET/KEY`` or, where the site names the store, ``s3://BUCKET/KEY``. An object appears
whole or not at all: in one put, or in parts that become an object at the end; the store gets the md5 of all it is sent
and its answer is compared with that. The library tries everything once: trying again is not its business. It runs in a
child that can be ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as BadIni
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

from pilot_copytools._digests import KIND, base64_of, digests
from pilot_copytools._disk import Dropping, Known, arriving, found_as, know
from pilot_copytools._library import BLOCK_B, Slice, broken, check, file_for, lacking, read_secret
from pilot_copytools._side import IN, OUT, STATUSES
from pilot_core.sdk import (
    Code,
    Fetches,
    FileSpec,
    Found,
    Isolation,
    Looks,
    Moved,
    Moving,
    PilotError,
    Replica,
    Stores,
    option,
)
from pilot_core.sdk.io import Cancelled, Digest

CONNECT_S: Final = 10.0
SILENT_S: Final = 60.0
SMALLEST_PART_B: Final = 5 << 20

CODES: Final = {
    "AccessDenied": "auth",
    "BadDigest": "differs",
    "ExpiredToken": "auth",
    "InternalError": "busy",
    "InvalidAccessKeyId": "auth",
    "InvalidDigest": "differs",
    "InvalidToken": "auth",
    "NoSuchBucket": "absent",
    "NoSuchKey": "absent",
    "PreconditionFailed": "exists",
    "QuotaExceeded": "full",
    "RequestTimeTooSkewed": "auth",
    "SignatureDoesNotMatch": "auth",
    "SlowDown": "busy",
    "TokenRefreshRequired": "auth",
    "XAmzContentSHA256Mismatch": "differs",
    "XMinioStorageFull": "full",
}
"""What the store's own words mean for a transfer; where it has none, the status counts."""
FAILURES: Final = {
    "ConnectionClosedError": "cut off",
    "ConnectionError": "cut off",
    "ConnectTimeoutError": "timed out",
    "CredentialRetrievalError": "keys",
    "EndpointConnectionError": "refused",
    "HTTPClientError": "cut off",
    "IncompleteReadError": "cut off",
    "NoCredentialsError": "keys",
    "PartialCredentialsError": "keys",
    "ProfileNotFound": "keys",
    "ReadTimeoutError": "timed out",
    "ResponseStreamingError": "cut off",
}
"""The same for the library's."""
_MAYBE_STORED: Final = frozenset({"exists", "cut off", "timed out"})
"""Words for a put after which an object may be there: somebody else's, or this one, and only the answer was lost."""


@frozen(kw_only=True)
class S3Options:
    """Where the copy tool "s3" finds object stores, and their keys."""

    section = "s3"

    endpoint: str = option(
        "", help="The object store that has all buckets, as https://HOST:PORT; else a place says it."
    )
    keys: Mapping[str, Path] = option(
        {}, help="Files with keys, in the form of the AWS tools, by storage endpoint, HOST:PORT, HOST or *."
    )
    profile: str = option("", help="The section in such a file, or in the AWS tools' own where none is named.")
    region: str = option("us-east-1", help="The region that requests are signed for.")
    ca_file: Path | None = option(None, help="Authorities that vouch for object stores, instead of the library's.")
    part_b: int = option(64 << 20, help="A larger file is sent in parts of this size.", unit="b", least=SMALLEST_PART_B)


@frozen
class Place:
    """An object: the store's address, the bucket, the key."""

    endpoint: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.endpoint}/{self.bucket}/{self.key}"

    @property
    def names(self) -> dict[str, str]:
        """As the library names it."""
        return {"Bucket": self.bucket, "Key": self.key}


class S3(Fetches, Stores, Looks):
    """Moves objects with boto3."""

    name = "s3"
    schemes = ("s3",)
    needs = "s3"
    isolation = Isolation.PROCESS
    resumes = True
    options = S3Options

    @classmethod
    def probe(cls) -> str | None:
        return lacking("boto3", cls.needs)

    def takes(self, replica: Replica) -> bool:
        """Places of its own scheme, and web addresses of stores that the site named; not signed ones."""
        told, parts = self.settings.of(S3Options), urlsplit(replica.url)
        if super().takes(replica) or parts.scheme not in ("https", "http"):
            return super().takes(replica)
        named = parts.netloc in told.keys or parts.hostname in told.keys
        return (named or f"{parts.scheme}://{parts.netloc}" == told.endpoint.rstrip("/")) and not parts.query

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask for size and digest."""
        place = self._place(replica)
        with IN.told(), _speaking(place):
            head = _head(self._client(replica, place), place)
        return found_as(head["ContentLength"], _kept_sums(head), file) if head else None

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Stream an object to the disk and sum it on its way."""
        place = self._place(replica)
        further = () if file.checksum else ("md5",)
        with IN.told(), arriving(target, file, moving, *further) as taking, _speaking(place):
            check(moving)
            part = {"Range": f"bytes={taking.kept_b}-"} if taking.kept_b else {}
            answer = self._client(replica, place).get_object(**place.names, **part)
            came_b = 0
            for block in answer["Body"].iter_chunks(BLOCK_B):
                check(moving)
                taking.write(block)
                came_b += len(block)
                moving.progress(came_b)
            return taking.moved({} if file.checksum else _told(answer), str(place))

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Put an object where nothing is, or what it replaces."""
        place = self._place(replica)
        with OUT.told(), open(source, "rb") as reader, _speaking(place):
            check(moving)
            whole = source.stat().st_size <= self.settings.of(S3Options).part_b
            known = know(source, file, moving, *(("md5",) if whole else ()))
            client = self._client(replica, place)
            before = _head(client, place)
            if before and (not file.replace or known.is_in(before["ContentLength"], _kept_sums(before))):
                return known.already(before["ContentLength"], _kept_sums(before), str(place))
            try:
                self._put(client, place, reader, known, file, moving)
            except PilotError as failed:
                if failed.facts.get("cause") not in _MAYBE_STORED or not (lying := _head(client, place)):
                    raise
                return known.already(lying["ContentLength"], _kept_sums(lying), str(place))
            return known.moved

    def _put(self, client: Any, place: Place, reader: BinaryIO, known: Known, file: FileSpec, moving: Moving) -> None:
        more = {"Metadata": {KIND: known.sums[KIND]}}
        if "md5" not in known.sums:
            _put_parts(client, place, reader, known, self.settings.of(S3Options).part_b, moving, more)
            return
        with _speaking(place):
            new = {} if file.replace else {"IfNoneMatch": "*"}
            md5 = base64_of(known.sums["md5"])
            body = Slice(reader, 0, known.size_b, moving)
            answer = client.put_object(**place.names, Body=body, ContentMD5=md5, **more, **new)
        _verify(client, place, answer, known, moving)

    def _place(self, replica: Replica) -> Place:
        return place_of(replica.url, self.settings.of(S3Options).endpoint)

    def _client(self, replica: Replica, place: Place) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        told, parts = self.settings.of(S3Options), urlsplit(place.endpoint)
        keys = file_for(told.keys, replica.endpoint, parts.netloc, parts.hostname or "")
        session = Session(**read_keys(keys, told.profile)) if keys else Session(profile_name=told.profile or None)
        config = Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_S,
            read_timeout=SILENT_S,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        authorities = str(told.ca_file) if told.ca_file else None
        return session.client(
            "s3", endpoint_url=place.endpoint, region_name=told.region, verify=authorities, config=config
        )


def place_of(url: str, endpoint: str) -> Place:
    """Read the address of an object."""
    parts = urlsplit(url.partition("?")[0].partition("#")[0])
    below = unquote(parts.path).lstrip("/")
    if parts.scheme == "s3" and endpoint and parts.netloc != urlsplit(endpoint).netloc:
        store, bucket, key = endpoint.rstrip("/"), parts.netloc, below
    else:
        scheme = urlsplit(endpoint).scheme if endpoint else "https"
        store = f"{scheme if parts.scheme == 's3' else parts.scheme}://{parts.netloc}"
        bucket, _, key = below.partition("/")
    if not parts.netloc or not bucket or not key.lstrip("/"):
        told = f"{url.partition('?')[0]} names no object: write s3://HOST:PORT/BUCKET/KEY"
        raise PilotError(Code.NOSUCHFILE, f"{told}, or s3://BUCKET/KEY with s3.endpoint")
    return Place(store, bucket, key.lstrip("/"))


def read_keys(path: Path, profile: str) -> dict[str, str]:
    """The keys in a file of the AWS tools, as their library names them."""
    ini = ConfigParser(interpolation=None)
    try:
        ini.read_string(read_secret(path, "s3.keys"))
        found = ini[profile or "default"]
    except (BadIni, KeyError):
        raise broken(f"{path}: wants a section [{profile or 'default'}] with aws_access_key_id", "keys") from None
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    keys = {name: found[name] for name in names if found.get(name)}
    if missing := [name for name in names[:2] if name not in keys]:
        raise broken(f"{path}: there is no {missing[0]} in [{profile or 'default'}]", "keys")
    return keys


@contextmanager
def _speaking(place: Place) -> Iterator[None]:
    """Say in a word what the store or the library has against a call."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as refused:
        error, status = refused.response.get("Error", {}), refused.response.get("ResponseMetadata", {})
        word = CODES.get(error.get("Code", "")) or STATUSES.get(status.get("HTTPStatusCode", 0), "")
        told = f"{place}: {error.get('Code')} {error.get('Message', '')}".strip()
        raise broken(told, word) from refused
    except BotoCoreError as failed:
        ours = failed.kwargs.get("error")
        if isinstance(ours, Cancelled | PilotError):
            raise ours from None
        raise broken(f"{place}: {failed}", FAILURES.get(type(failed).__name__, "")) from failed


def _head(client: Any, place: Place) -> Mapping[str, Any] | None:
    """What the store says of an object, or nothing where none is."""
    from botocore.exceptions import ClientError

    try:
        head: Mapping[str, Any] = client.head_object(**place.names)
    except ClientError as refused:
        if refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise
    return head


def _told(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """The digests that the store itself has made."""
    return digests(answer["ResponseMetadata"]["HTTPHeaders"])


def _kept_sums(head: Mapping[str, Any]) -> Mapping[str, str]:
    """The digests of an object, with the one that was kept beside it when it was stored."""
    kept = digests({"digest": f"{KIND}={head.get('Metadata', {}).get(KIND, '')}"})
    return {**kept, **_told(head)}


def _verify(client: Any, place: Place, answer: Mapping[str, Any], known: Known, moving: Moving) -> None:
    """Compare what the store says it got; one that does not say has to show the object. A wrong one is removed."""
    size_b, told = None, _told(answer)
    with _speaking(place):
        if known.is_in(None, told) is None:
            back = Dropping(known.sums)
            for block in client.get_object(**place.names)["Body"].iter_chunks(BLOCK_B):
                check(moving)
                back.write(block)
            size_b, told = back.size_b, back.sums
        if not known.is_in(size_b, told):
            client.delete_object(**place.names)
    known.check(size_b, told, str(place))


def _put_parts(
    client: Any, place: Place, reader: BinaryIO, known: Known, part_b: int, moving: Moving, more: Mapping[str, Any]
) -> None:
    """Put an object in parts; none of them stays if not all come through."""
    whole = Digest([known.checksum.kind])
    with _speaking(place):
        _forget_parts(client, place)
        upload = {**place.names, "UploadId": client.create_multipart_upload(**place.names, **more)["UploadId"]}
        with ExitStack() as unless_whole:
            unless_whole.callback(client.abort_multipart_upload, **upload)
            sent = []
            for number, start_b in enumerate(range(0, known.size_b, part_b), 1):
                part = Slice(reader, start_b, min(part_b, known.size_b - start_b), moving)
                sent.append({"PartNumber": number, "ETag": _put_part(client, place, upload, number, part, whole)})
            if (found := whole.hexdigests()[known.checksum.kind]) != known.checksum.value:
                raise OUT.mismatch(known.checksum.kind, f"the file here has {found}, {known.checksum} expected")
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent})
            unless_whole.pop_all()


def _put_part(client: Any, place: Place, upload: Mapping[str, str], number: int, part: Slice, whole: Digest) -> str:
    md5 = Digest(["md5"])
    part.sum(md5, whole)
    ours = md5.hexdigests()["md5"]
    answer = client.upload_part(**upload, PartNumber=number, Body=part, ContentMD5=base64_of(ours))
    if (told := _told(answer).get("md5", ours)) != ours:
        raise OUT.mismatch("md5", f"{place}: md5:{told} is there of part {number}, md5:{ours} here")
    return str(answer["ETag"])


def _forget_parts(client: Any, place: Place) -> None:
    """End uploads of this very object that nobody will end: who began them was killed."""
    listed = client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.key).get("Uploads", ())
    for upload in listed:
        if upload["Key"] == place.key:
            client.abort_multipart_upload(**place.names, UploadId=upload["UploadId"])

"""The copy tool "gcs": objects in Google's Cloud Storage.

A place is ``gs://BUCKET/KEY``. An object appears whole or not at all, after the store has compared it with the md5 and
the crc32c that it was told beforehand. The library tries everything once: trying again is not its business. It runs in
a child that can be ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

from pilot_copytools._digests import KIND, base64_of, digests
from pilot_copytools._disk import Arriving, Known, arriving, found_as, know
from pilot_copytools._library import Slice, broken, check, file_for, lacking, read_secret
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

LIMITS_S: Final = (10.0, 60.0)
"""To connect, and for the store to stay silent."""
CHUNK_B: Final = 16 << 20
FAILURES: Final = {
    "ConnectTimeout": "timed out",
    "DataCorruption": "differs",
    "DefaultCredentialsError": "keys",
    "MalformedError": "keys",
    "RefreshError": "auth",
    "SSLError": "tls",
    "Timeout": "timed out",
    "ConnectionError": "cut off",
    "ChunkedEncodingError": "cut off",
    "TransportError": "cut off",
}
"""What the libraries' own failures mean for a transfer, by their names; a status says it by itself."""
_MAYBE_STORED: Final = frozenset({"exists", "cut off", "timed out"})
"""Words for an upload after which an object may be there: somebody else's, or this one and only the answer was lost."""


@frozen(kw_only=True)
class GcsOptions:
    """Where the copy tool "gcs" finds the store, and its keys."""

    section = "gcs"

    endpoint: str = option("https://storage.googleapis.com", help="The address of the store.")
    keys: Mapping[str, Path] = option(
        {},
        help="Files with the key of a service account, by storage endpoint, bucket or *; else the node's own counts.",
    )
    anonymous: bool = option(False, help="Show no key where none is named, not even the node's own.")


@frozen
class Place:
    """An object: the bucket, the key."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.key}"


class Gcs(Fetches, Stores, Looks):
    """Moves objects with google-cloud-storage."""

    name = "gcs"
    schemes = ("gs", "gcs")
    needs = "gcs"
    isolation = Isolation.PROCESS
    resumes = True
    options = GcsOptions

    @classmethod
    def probe(cls) -> str | None:
        return lacking("google.cloud.storage", cls.needs)

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask for size and digests."""
        place = place_of(replica.url)
        with IN.told(), _speaking(place), closing(self._client(replica, place)) as client:
            lying = _lying(client, place)
        return found_as(lying.size, _sums(lying), file) if lying else None

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Stream an object to the disk and sum it on its way."""
        place = place_of(replica.url)
        further = () if file.checksum else ("md5", "crc32c")
        with (
            IN.told(),
            arriving(target, file, moving, *further) as taking,
            _speaking(place),
            closing(self._client(replica, place)) as client,
        ):
            check(moving)
            blob = client.bucket(place.bucket).blob(place.key)
            begin = {"start": taking.kept_b} if taking.kept_b else {}
            sink, plain = _Sink(taking, moving), {"raw_download": True, "checksum": None, "retry": None}
            blob.download_to_file(sink, timeout=LIMITS_S, **plain, **begin)
            return taking.moved({} if file.checksum else _sums(blob), str(place))

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Put an object where nothing is, or what it replaces."""
        place = place_of(replica.url)
        with OUT.told(), _speaking(place):
            check(moving)
            known = know(source, file, moving, "md5", "crc32c")
            with closing(self._client(replica, place)) as client:
                before = _lying(client, place)
                if before and (not file.replace or known.is_in(before.size, _sums(before))):
                    return known.already(before.size, _sums(before), str(place))
                try:
                    _put(client, place, source, known, file, moving)
                except PilotError as failed:
                    if failed.facts.get("cause") not in _MAYBE_STORED or not (lying := _lying(client, place)):
                        raise
                    return known.already(lying.size, _sums(lying), str(place))
            return known.moved

    def _client(self, replica: Replica, place: Place) -> Any:
        from google.auth import default
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        told = self.settings.of(GcsOptions)
        if keys := file_for(told.keys, replica.endpoint, place.bucket):
            credentials = _read_keys(keys)
        else:
            credentials = AnonymousCredentials() if told.anonymous else default()[0]
        options = {"api_endpoint": told.endpoint}
        return Client(project="pilot", credentials=credentials, client_options=options)


class _Sink:
    """Where the library writes: progress is told, and it ends when the transfer is to end."""

    def __init__(self, taking: Arriving, moving: Moving) -> None:
        self._taking = taking
        self._moving = moving
        self._came_b = 0

    def write(self, data: bytes) -> int:
        check(self._moving)
        self._taking.write(data)
        self._came_b += len(data)
        self._moving.progress(self._came_b)
        return len(data)


def place_of(url: str) -> Place:
    """Read the address of an object."""
    parts = urlsplit(url.partition("?")[0].partition("#")[0])
    key = unquote(parts.path).lstrip("/")
    if not parts.netloc or not key:
        raise PilotError(Code.NOSUCHFILE, f"{url.partition('?')[0]} names no object: write gs://BUCKET/KEY")
    return Place(parts.netloc, key)


def _read_keys(path: Path) -> Any:
    """The credentials of a service account, as its key file has them."""
    import json

    from google.oauth2.service_account import Credentials

    text = read_secret(path, "gcs.keys")
    scope = "https://www.googleapis.com/auth/devstorage.read_write"
    try:
        return Credentials.from_service_account_info(json.loads(text), scopes=[scope])
    except ValueError:
        raise broken(f"{path}: wants the key of a service account, as JSON", "keys") from None


@contextmanager
def _speaking(place: Place) -> Iterator[None]:
    """Say in a word what the store or one of the libraries has against a call."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption
    from requests import RequestException

    try:
        yield
    except GoogleAPICallError as refused:
        word = STATUSES.get(int(refused.code or 0), "")
        raise broken(f"{place}: {refused.code} {_short(refused.message)}", word) from refused
    except (GoogleAuthError, DataCorruption, RequestException) as failed:
        words = (FAILURES[each.__name__] for each in type(failed).__mro__ if each.__name__ in FAILURES)
        raise broken(f"{place}: {_short(failed)}", next(words, "")) from failed


def _short(told: object) -> str:
    """A message without the address in it, which may say more than people should know."""
    return str(told).split("http", 1)[0].strip(" :\n") if "?" in str(told) else str(told)


def _put(client: Any, place: Place, source: Path, known: Known, file: FileSpec, moving: Moving) -> None:
    """Upload an object with its digests, which the store compares; what it says of it then is compared here."""
    blob = client.bucket(place.bucket).blob(place.key, chunk_size=CHUNK_B)
    blob.md5_hash, blob.crc32c = base64_of(known.sums["md5"]), base64_of(known.sums["crc32c"])
    blob.metadata = {KIND: known.sums[KIND]} if KIND in known.sums else {}
    new = {} if file.replace else {"if_generation_match": 0}
    with _speaking(place), open(source, "rb") as reader:
        body, plain = Slice(reader, 0, known.size_b, moving), {"checksum": None, "retry": None, **new}
        blob.upload_from_file(body, size=known.size_b, timeout=LIMITS_S, **plain)
    known.check(blob.size, _sums(blob, kept=False), str(place))


def _lying(client: Any, place: Place) -> Any:
    """What the store has there, or nothing."""
    return client.bucket(place.bucket).get_blob(place.key, timeout=LIMITS_S, retry=None)


def _sums(blob: Any, *, kept: bool = True) -> Mapping[str, str]:
    """The digests that the store has made of an object, and the one that was kept beside it."""
    made = {name: value for name, value in (("md5", blob.md5_hash), ("crc32c", blob.crc32c)) if value}
    beside = {KIND: (blob.metadata or {}).get(KIND, "")} if kept else {}
    return digests({"digest": ",".join(f"{name}={value}" for name, value in {**made, **beside}.items())})

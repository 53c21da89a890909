"""A client that sends what it is told to, right or wrong, and a server that is asked with it."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from attrs import frozen

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@frozen
class Said:
    """An answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """An answer in the manner of a form."""
        return {name: values[0] for name, values in parse_qs(self.text, keep_blank_values=True).items()}


class Asker:
    """One connection, kept. The credential is a token, or a proxy that is certificate and key in one."""

    def __init__(self, url, credential, ca=None, origin=""):
        where = urlsplit(url)
        trust = ssl.create_default_context(cafile=ca and str(ca))
        text = Path(credential).read_text().strip() if credential else ""
        self.headers = {"Origin": origin} if origin else {}
        if text.startswith("-----BEGIN"):
            trust.load_cert_chain(credential)
        elif text:
            self.headers["Authorization"] = f"Bearer {text}"
        if where.scheme == "http":
            self._line = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=60)
        else:
            self._line = http.client.HTTPSConnection(where.hostname, where.port or 443, timeout=60, context=trust)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._line.close()

    def ask(self, method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        self._line.request(method, path, body, {**self.headers, **named})
        answer = self._line.getresponse()
        return Said(answer.status, dict(answer.getheaders()), answer.read())


@frozen
class TheirServer:
    """A server as a pilot may ask it, and if it is our own a stage where jobs can be ordered."""

    asker: Asker
    queue: str
    stage: object = None

    def submit(self, count=1, **described):
        """Jobs that wait; elsewhere nobody knows how to get any."""
        if self.stage is None:
            pytest.skip("the server that was given does not promise jobs")
        return self.stage.submit({"script": "true", "outputs": ["out.txt"], **described}, count)

    def post(self, method, given, **headers):
        """A call of the first version."""
        usual = {"Content_Type": JSON, "Accept": JSON}
        return self.asker.ask("POST", f"/api/v1/{method}", json.dumps(given).encode(), **(usual | headers))

    def get(self, method, query="", **headers):
        return self.asker.ask("GET", f"/api/v1/{method}{query and '?'}{query}", **({"Accept": JSON} | headers))

    def acquire(self, **more):
        return self.post("pilot/acquire_jobs", {"site_name": self.queue, "node": "conformance", **more}).json()

    def update(self, job, status="running", attempt=1, **more):
        told = {"job_id": job, "job_status": status, "attempt_nr": attempt, **more}
        return self.post("pilot/update_job", told).json()

    def call(self, function, accept=JSON, **given):
        """A function of an older server, with a form."""
        return self._older(function, urlencode(given).encode(), Content_Type=FORM, Accept=accept)

    def packed(self, function, **given):
        """The same with packed JSON."""
        return self._older(function, gzip.compress(json.dumps(given).encode()), Content_Type=JSON)

    def plain(self, function, **given):
        """The same with JSON as it is, which restarts a real server's process."""
        return self._older(function, json.dumps(given).encode(), Content_Type=JSON)

    def _older(self, function, body, **headers):
        said = self.asker.ask("POST", f"/server/panda/{function}", body, **headers)
        if said.status == 403 and "is forbidden" in said.text:
            pytest.skip("the server that was given does not promise the older calls")
        return said

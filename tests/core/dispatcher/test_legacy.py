"""PanDA's older calls: each function in both encodings, and what they say where the first version says otherwise."""

from __future__ import annotations

import gzip
import json
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.dispatcher import legacy
from pilot_core.dispatcher.config import Config
from pilot_core.dispatcher.service import Service
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.updates import ACQUIRE, UPDATE
from pilot_core.testing.fakes import FakeClock

from .asking import QUEUES, REPORT, STORAGES, Client

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class Older(Client):
    """Speaks to the functions; answers as JSON unless ``accept`` says otherwise."""

    def call(self, function, *, accept=JSON, **values):
        return self.sent(function, urlencode(values).encode(), accept=accept, **{"content-type": FORM})

    def packed(self, function, **values):
        return self.sent(function, gzip.compress(json.dumps(values).encode()), **{"content-type": JSON})

    def sent(self, function, body, **headers):
        return self.ask("POST", f"/server/panda/{function}", body, **headers)

    def row(self, function, **values):
        return json.loads(self.call(function, **values).body)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make(tmp_path, tokens, clock):
    """Makes services; all are closed in the end."""
    made: list[Service] = []
    storage = Storage(tmp_path / "storage")

    def service(*dialects: str) -> Service:
        store = Store(tmp_path / f"{len(made)}.sqlite", clock)
        made.append(
            Service(store, storage, Config(QUEUES, STORAGES, dialects, proxy=tmp_path / "proxy.pem"), tokens, clock)
        )
        return made[-1]

    yield service
    for each in made:
        each.close()
    storage.close()


@pytest.fixture
def service(make):
    return make("v1", "legacy")


@pytest.fixture
def pilot(service):
    return Older(service, "run")


@pytest.fixture
def person(service):
    return Older(service, "submit")


@pytest.fixture
def admin(service):
    return Older(service, "admin")


def read(answer) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(answer.body.decode(), keep_blank_values=True).items()}


# --- words ---


def test_every_word_is_one_of_the_first_version_and_none_is_said_twice():
    for words, known in ((legacy.ASKS, ACQUIRE), (legacy.TELLS, UPDATE)):
        meant = [name for name, _ in words.values()]
        assert sorted(meant) == sorted(known)


@given(st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.none(), st.lists(st.integers(), max_size=2)))
def test_a_value_that_is_none_of_its_kind_is_nothing(value):
    for _, cast in (*legacy.ASKS.values(), *legacy.TELLS.values()):
        found = cast(value)
        assert found is None or isinstance(found, (str, bool, float)) or found.bit_length() < 64


# --- jobs ---


def test_a_job_from_beginning_to_end_in_a_form(pilot, person):
    (job,) = person.submit()
    told = pilot.row("getJob", siteName="local", node="n1", mem="2000", cpu="1", SomeRelease="x", timeout="60")
    assert (told["StatusCode"], told["PandaID"], told["attemptNr"], told["scopeOut"]) == (0, job, 1, f"{job}.1")
    going_on = {"StatusCode": 0, "command": "NULL", "heartbeat": 2.0}
    assert pilot.row("updateJob", jobId=job, state="starting", attemptNr=1, timestamp="now") == going_on
    assert pilot.row("updateJob", jobId=job, state="running", attemptNr=1, maxRSS="12", coreCount="2.0") == going_on
    assert pilot.row("updateJob", jobId=job, state="finished", attemptNr=1, xml=REPORT) == going_on
    again = pilot.row("updateJob", jobId=job, state="finished", attemptNr=1, xml=REPORT)
    assert again == {"StatusCode": 0, "command": "alreadydone"}
    shown = person.get(f"/dispatcher/v1/jobs/{job}")
    assert (shown["state"], [file["name"] for file in shown["files"]]) == ("finished", ["out.txt"])


def test_several_jobs_are_listed(pilot, person):
    ids = person.submit(count=3)
    told = pilot.row("getJob", siteName="local", nJobs=1)
    assert (told["StatusCode"], [each["PandaID"] for each in told["jobs"]]) == (0, ids[:1])
    packed = json.loads(pilot.packed("getJob", siteName="local", nJobs=5).body)
    assert [each["PandaID"] for each in packed["jobs"]] == ids[1:]


def test_without_a_wish_for_json_everything_is_text(pilot, person):
    (job, other) = person.submit(count=2)
    plain = read(pilot.call("getJob", accept="*/*", siteName="local"))
    assert (plain["StatusCode"], plain["PandaID"], plain["coreCount"]) == ("0", str(job), "1")
    listed = read(pilot.call("getJob", accept="*/*", siteName="local", nJobs=1))
    assert [each["PandaID"] for each in json.loads(listed["jobs"])] == [other]
    answer = pilot.call("updateJob", accept="*/*", jobId=job, state="running", attemptNr=1)
    assert (answer.type, answer.body) == ("text/plain", b"StatusCode=0&command=NULL&heartbeat=2.0")


def test_no_job(pilot):
    assert pilot.row("getJob", siteName="local") == {"StatusCode": 20, "errorDialog": "no jobs in PanDA"}
    assert pilot.row("getJob", siteName="locl")["errorDialog"].endswith("did you mean 'local'?")
    assert pilot.row("getJob", siteName="local", timeout=5)["StatusCode"] == 20


# --- updates ---


def test_flags_in_json_become_words(pilot, person):
    person.submit()
    assert json.loads(pilot.packed("getJob", siteName="local", background=True, viaTopic=False).body)["PandaID"] == 1


def test_a_number_that_is_none_is_ignored_and_one_that_is_needed_is_missed(pilot, person):
    (job,) = person.submit()
    pilot.row("getJob", siteName="local", mem="much")
    assert pilot.row("updateJob", jobId=job, state="running", attemptNr=1, nEvents="nan")["StatusCode"] == 0
    assert pilot.row("updateJob", jobId=job, state="running", attemptNr="one")["StatusCode"] == 0
    assert pilot.row("updateJob", jobId="one", state="running")["StatusCode"] == 50


def test_what_the_older_servers_forgive(pilot, person):
    (job,) = person.submit()
    person.own("cancel", {"ids": [job]})
    assert pilot.row("updateJob", jobId=job, state="dancing", attemptNr=1) == {"StatusCode": 0}
    assert pilot.row("updateJob", jobId=job, state="finished", attemptNr=1, metaData="{}") == {"StatusCode": 0}
    assert pilot.row("updateJob", jobId=job, state="finished", attemptNr=1)["command"] == "tobekilled"


def test_output_is_cut_and_what_is_too_wide_is_the_database_s_to_refuse(pilot, person):
    (job,) = person.submit()
    pilot.row("getJob", siteName="local")
    assert pilot.row("updateJob", jobId=job, state="running", attemptNr=1, stdout="s" * 5000)["StatusCode"] == 0
    assert person.get(f"/dispatcher/v1/jobs/{job}")["log_tail"] == "s" * 2048
    told = pilot.row("updateJob", jobId=job, state="running", attemptNr=1, pilotTiming="1" * 101)
    assert told == {
        "StatusCode": 30, "errorDialog": "Database error: 'pilot_timing' has 101 bytes; there is room for 100",
    }  # fmt: skip


def test_in_bulk(pilot, person):
    ids = person.submit(count=2)
    pilot.row("getJob", siteName="local", nJobs=2)
    words = [{"jobId": job, "state": "running", "attemptNr": 1} for job in (*ids, 99)]
    done, told = pilot.row("updateJobsInBulk", jobList=json.dumps(words), harvester_id="h")
    assert (done, {each["type"] for each in told}) == (True, {"json"})
    assert [json.loads(each["content"])["command"] for each in told] == ["NULL", "NULL", "tobekilled"]
    plain = json.loads(pilot.call("updateJobsInBulk", accept="*/*", jobList=json.dumps(words[2:])).body)
    assert plain == [True, ["StatusCode=0&command=tobekilled"]]
    done, told = pilot.row("updateJobsInBulk", jobList=json.dumps([*words, {"state": "running"}]))
    assert (done, told) == (False, "updateJob() missing a required argument: 'jobId'")
    assert pilot.row("updateJobsInBulk", jobList="{")[0] is False


# --- questions ---


def test_how_jobs_stand(pilot, person):
    ids = person.submit(count=2)
    pilot.row("getJob", siteName="local")
    told = pilot.row("getStatus", ids=f"{ids[0]} 99 {ids[1]}")
    assert told == {"StatusCode": 0, "status": "sent+notfound+activated", "attemptNr": "1+0+1"}
    answer = pilot.ask("GET", "/server/panda/getStatus", query={"ids": ids[0]}, accept="*/*")
    assert answer.body == b"StatusCode=0&status=sent&attemptNr=1"
    assert pilot.row("checkJobStatus", ids=f"{ids[0]},99")["data"] == [
        {"status": "sent", "command": "NULL"},
        {"status": "unknown", "command": "tobekilled"},
    ]


# --- small calls ---


def test_a_worker_starts_or_ends_and_nothing_else(pilot, person):
    told = {"site": "local", "workerID": 7, "harvesterID": "h", "node_id": "n"}
    assert pilot.row("updateWorkerPilotStatus", status="started", **told) == {"StatusCode": 0}
    assert pilot.call("updateWorkerPilotStatus", status="odd", **told).body == b"Invalid worker state 'odd'"
    assert person.call("updateWorkerPilotStatus", status="started", **told).body.startswith(b"no production/pilot role")


def test_debug_mode_is_for_administrators_and_said_in_sentences(pilot, admin, person):
    (job,) = person.submit()
    assert pilot.call("setDebugMode", pandaID=job, modeOn=True).body.startswith(b"no production/pilot role")
    assert admin.call("setDebugMode", pandaID=job, modeOn=True).body == b"Succeeded"
    assert pilot.row("checkJobStatus", ids=job)["data"][0]["command"] == "debug"
    assert admin.call("setDebugMode", pandaID=99, modeOn=True).body == b"there is no such job"
    assert admin.call("setDebugMode", pandaID="one", modeOn=True).body == b"'pandaID' wants to be a whole number"


def test_kinds_of_slots(pilot):
    told = pilot.row("getResourceTypes")
    assert (told["StatusCode"], [each["resource_name"] for each in told["ResourceTypes"]]) == (0, ["SCORE", "MCORE"])


# --- credentials ---


def test_a_token_for_the_token_key(pilot, tokens):
    told = pilot.row("get_access_token", client_name="c", token_key=tokens.key)
    assert (told["StatusCode"], tokens.role(told["userProxy"])) == (0, "run")
    told = pilot.row("get_access_token", client_name="c", token_key="k")
    assert told == {"StatusCode": 50, "errorDialog": "failed since token key is invalid for c"}


def test_the_token_key_is_for_administrators(pilot, admin, tokens):
    assert pilot.row("get_token_key", client_name="c")["StatusCode"] == 60
    told = admin.row("get_token_key", client_name="c")
    assert told == {"StatusCode": 0, "tokenKey": tokens.key, "errorDialog": ""}


def test_a_proxy_where_there_is_one(pilot, proxy):
    assert pilot.row("getProxy", role="vo")["StatusCode"] == 90
    pem = proxy()
    assert pilot.row("getProxy", role="vo") == {"StatusCode": 0, "userProxy": pem, "errorDialog": ""}


def test_nobody_entrusts_secrets_to_a_dispatcher(pilot):
    assert pilot.row("get_user_secrets", keys="K", get_json=True) == [True, {}]
    assert pilot.row("get_user_secrets") == [True, "{}"]


def test_alive(pilot):
    answer = pilot.ask("GET", "/server/panda/isAlive")
    assert (answer.type, answer.body) == ("text/plain", b"alive=yes")


# --- what is refused ---


@pytest.mark.parametrize(("function", "values", "status", "told"), [
    ("getJob", {"siteName": "local", "sitename": "x"}, 500, "getJob() got an unexpected keyword argument 'sitename'"),
    ("getJob", {"mem": 5}, 500, "getJob() missing a required argument: 'siteName'"),
    ("updateJob", {"jobId": 5}, 500, "updateJob() missing a required argument: 'state'"),
    ("getStatus", {"ids": "1,2"}, 500, "'ids' wants to be a list of whole numbers"),
    ("getProxy", {"rol": "x"}, 500, "getProxy() got an unexpected keyword argument 'rol'"),
    ("get_access_token", {}, 500, "get_access_token() missing a required argument: 'client_name'"),
    ("updateWorkerPilotStatus", {"site": "s"}, 500, "updateWorkerPilotStatus() missing a required argument: "),
    ("getKeyPair", {}, 403, "method getKeyPair is forbidden"),
    ("", {}, 403, "method  is forbidden"),
])  # fmt: skip
def test_what_cannot_be_understood(pilot, function, values, status, told):
    answer = pilot.call(function, **values)
    assert (answer.status, answer.type) == (status, "text/plain")
    assert answer.body.decode().startswith(f"ERROR : {told}")


@pytest.mark.parametrize(("body", "kind", "told"), [
    pytest.param(b'{"siteName": "local"}', JSON, "is not gzip", id="plain"),
    pytest.param(gzip.compress(b"{"), JSON, "is not JSON", id="half"),
    pytest.param(gzip.compress(b"[]"), JSON, "one JSON object", id="list"),
    pytest.param(gzip.compress(b"{}")[:-3], JSON, "one whole piece of gzip", id="cut"),
    pytest.param(b"", JSON, "not one whole piece", id="empty"),
    pytest.param(b"a=%ff", FORM, "is no form", id="bytes"),
    pytest.param(b"a=1&" * 500, FORM, "is no form", id="many"),
])  # fmt: skip
def test_bodies_that_are_none(pilot, body, kind, told):
    answer = pilot.sent("getJob", body, **{"content-type": kind})
    assert (answer.status, told in answer.body.decode()) == (500, True), answer.body


def test_people_get_no_jobs(person):
    told = person.row("getJob", siteName="local")
    assert told == {"StatusCode": 60, "errorDialog": "no production/pilot role: the token is for 'submit'"}


def test_a_database_that_fails(pilot, person, service):
    person.submit()
    with service.store.reading() as database:
        database.execute("PRAGMA query_only = 1")
    assert pilot.row("getJob", siteName="local") == {"StatusCode": 30, "errorDialog": "database error"}


@pytest.mark.parametrize("function", legacy.FUNCTIONS)
def test_where_they_are_switched_off_all_are_forbidden(make, function):
    answer = Older(make("v1"), "run").call(function)
    assert (answer.status, answer.body.decode()) == (403, f"ERROR : method {function} is forbidden")

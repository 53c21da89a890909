"""Every route of the dispatcher: what it answers, to whom, and what it refuses with which words."""

from __future__ import annotations

import hashlib
import json
import threading
import zlib

import pytest

from pilot_core.dispatcher.config import Config
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.service import Service
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.testing.fakes import FakeClock

from .asking import DESCRIBED, QUEUES, REPORT, STORAGES, Client


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def service(tmp_path, clock):
    store, storage = Store(tmp_path / "d.sqlite", clock), Storage(tmp_path / "storage")
    service = Service(store, storage, Config(QUEUES, STORAGES), clock, scheme="https")
    yield service
    service.close()
    storage.close()


@pytest.fixture
def anybody(service):
    return Client(service, None)


@pytest.fixture
def pilot(service):
    return Client(service, "run")


@pytest.fixture
def person(service):
    return Client(service, "submit")


@pytest.fixture
def admin(service):
    return Client(service, "admin")


# --- who may what ---

PATHS = {
    ("POST", "/api/v1/pilot/acquire_jobs"): "run",
    ("POST", "/api/v1/pilot/update_job"): "run",
    ("POST", "/api/v1/pilot/update_jobs_bulk"): "run",
    ("GET", "/api/v1/pilot/get_job_status"): "run",
    ("GET", "/api/v1/system/is_alive"): "run submit",
    ("GET", "/cache/schedconfig/local.all.json"): "run",
    ("GET", "/cache/ddmendpoints.json"): "run",
    ("POST", "/dispatcher/v1/submit"): "submit",
    ("GET", "/dispatcher/v1/queues"): "submit",
    ("GET", "/dispatcher/v1/jobs"): "submit",
    ("GET", "/dispatcher/v1/jobs/1"): "submit",
    ("POST", "/dispatcher/v1/cancel"): "submit",
    ("POST", "/dispatcher/v1/retry"): "submit",
    ("POST", "/dispatcher/v1/debug"): "",
    ("GET", "/storage/1.1/out.txt"): "run submit",
    ("PUT", "/storage/1.1/out.txt"): "run",
    ("GET", f"/storage/inputs/{'0' * 64}/in.txt"): "run submit",
    ("PUT", f"/storage/inputs/{'0' * 64}/in.txt"): "submit",
}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_each_path_is_for_its_roles_only(service, method, path):
    for role in ("run", "submit"):
        if role not in PATHS[method, path].split():
            status, told = Client(service, role).refused(method, path, {})
            assert status == 403
            assert told.startswith(f"the token is for '{role}'; this takes one for")
    for role in (*PATHS[method, path].split(), "admin"):
        assert may(Client(service, role), method, path)


def may(client: Client, method: str, path: str) -> bool:
    try:
        client.ask(method, path, b"{}", **{"content-type": "application/json"})
    except Refused as refused:
        return "the token is for" not in refused.text
    return True


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/nowhere"), ("POST", "/")])
@pytest.mark.parametrize("role", [None, "other"])
def test_without_a_token_there_is_nothing_not_even_what_is_not_there(service, method, path, role):
    status, told = Client(service, role).refused(method, path, {})
    assert (status, told) == (403, "a valid token is needed; send it as 'Authorization: Bearer ...'")


def test_the_page_is_for_everybody_and_holds_nothing(anybody, person):
    person.submit(id="secret-name")
    answer = anybody.ask("GET", "/")
    assert (answer.status, answer.type) == (200, "text/html; charset=utf-8")
    assert b"secret-name" not in answer.body


def test_what_is_not_there(admin):
    status, told = admin.refused("GET", "/dispatcher/v1/job")
    assert (status, "did you mean '/dispatcher/v1/jobs'" in told) == (404, True)
    assert admin.refused("GET", "/dispatcher/v1/submit") == (405, "/dispatcher/v1/submit takes POST, not GET")


# --- pilots ---


def test_a_job_from_beginning_to_end(pilot, person):
    (job,) = person.submit()
    told = pilot.acquire()
    assert (told["success"], told["message"], told["data"]["StatusCode"]) == (True, "", 0)
    (wire,) = told["data"]["jobs"]
    assert (wire["PandaID"], wire["attemptNr"], wire["heartbeat"], wire["StatusCode"]) == (job, 1, 10, 0)
    going_on = {"success": True, "message": "", "data": {"StatusCode": 0, "command": "NULL", "heartbeat": 10.0}}
    assert pilot.update(job, "starting") == going_on
    assert pilot.update(job, "finished", job_output_report=REPORT, pilot_timing="1|2|3|4|5|6") == going_on
    shown = person.get(f"/dispatcher/v1/jobs/{job}")
    assert (shown["state"], shown["name"], shown["description"]) == ("finished", "fit", DESCRIBED)
    assert shown["timing"]["stage_in"] == 2
    assert shown["files"][0]["url"] == f"/storage/{job}.1/out.txt"
    again = pilot.update(job, "finished", job_output_report=REPORT)
    assert again["data"] == {"StatusCode": 0, "command": "alreadydone"}


def test_several_jobs_at_once(pilot, person):
    ids = person.submit(count=5)
    assert [job["PandaID"] for job in pilot.acquire(n_jobs=3)["data"]["jobs"]] == ids[:3]
    assert len(pilot.acquire(n_jobs=9)["data"]["jobs"]) == 2


def test_no_job(pilot):
    assert pilot.acquire() == {"success": False, "message": "No jobs in PanDA", "data": None}
    assert pilot.acquire(site_name="shut")["message"] == "No jobs in PanDA"
    assert pilot.acquire(site_name="locl")["message"].endswith("no queue 'locl' is served here; did you mean 'local'?")


@pytest.mark.parametrize(("asked", "message"), [
    ({"memory": "5"}, "Type error: 'memory' must be of type int, got str."),
    ({"memory": 5.0}, "Type error: 'memory' must be of type int, got float."),
    ({"n_jobs": None}, "Type error: 'n_jobs' must be of type int, got NoneType."),
    ({"get_proxy_key": True}, "Type error: 'get_proxy_key' must be of type str, got bool."),
    ({"site_name": None}, "Argument error: missing a required argument: 'site_name'"),
])  # fmt: skip
def test_a_mistyped_call_is_refused_as_a_whole(pilot, person, asked, message):
    person.submit()
    assert pilot.acquire(**asked) == {"success": False, "message": message, "data": None}
    assert person.get("/dispatcher/v1/jobs")["states"] == {"activated": 1}


def test_what_is_not_sent_as_json_has_no_arguments(pilot):
    answer = pilot.ask(
        "POST", "/api/v1/pilot/acquire_jobs", b"{}", **{"content-type": "application/json; charset=utf-8"}
    )
    assert json.loads(answer.body)["message"].startswith("Argument error")


def test_an_attempt_must_be_named(pilot, person):
    person.submit()
    pilot.acquire()
    told = pilot.post("/api/v1/pilot/update_job", {"job_id": 1, "job_status": "running"})
    assert told["message"] == "Argument error: missing a required argument: 'attempt_nr'"


def test_a_state_that_is_none(pilot):
    told = pilot.update(1, "done")
    assert told == {"success": False, "message": "Invalid job status", "data": {"StatusCode": 50}}


def test_in_bulk(pilot, person):
    ids = person.submit(count=2)
    pilot.acquire(n_jobs=2)
    words = [{"job_id": job, "job_status": "running", "attempt_nr": 1} for job in (*ids, 99)]
    told = pilot.post("/api/v1/pilot/update_jobs_bulk", {"job_list": words, "harvester_id": "h"})
    assert [each["data"]["command"] for each in told["data"]] == ["NULL", "NULL", "tobekilled"]
    told = pilot.post("/api/v1/pilot/update_jobs_bulk", {"job_list": [*words, {}]})
    assert (told["success"], told["data"]) == (False, [])


def test_how_jobs_stand(pilot, person):
    (job,) = person.submit()
    assert pilot.get("/api/v1/pilot/get_job_status", job_ids=[99, job])["data"] == [
        {"job_id": 99, "status": "not found", "attempt_number": 0},
        {"job_id": job, "status": "activated", "attempt_number": 1},
    ]
    assert pilot.get("/api/v1/pilot/get_job_status", job_ids="1,2")["success"] is False


def test_alive(pilot):
    assert pilot.get("/api/v1/system/is_alive")["success"] is True


def test_a_database_that_fails_is_a_reason_to_say_it_again(pilot, person, service):
    person.submit()
    with service.store.reading() as database:
        database.execute("PRAGMA query_only = 1")
    assert pilot.acquire()["data"] == {"StatusCode": 30}
    status, told = person.refused("POST", "/dispatcher/v1/cancel", {"ids": [1]})
    assert (status, "try again" in told) == (503, True)


def test_a_lost_job_is_swept_back(pilot, person, service, clock):
    (job,) = person.submit()
    pilot.acquire()
    assert service.sweep() == []
    clock.advance(QUEUES["local"].lost_after_s)
    assert service.sweep() == [job]
    assert pilot.acquire()["data"]["jobs"][0]["attemptNr"] == 2
    assert pilot.update(job)["data"] == {"StatusCode": 0, "command": "tobekilled"}


# --- facts ---


def test_queue_data(pilot):
    facts = pilot.get("/cache/schedconfig/local.all.json")
    assert facts == {
        "nickname": "local",
        "panda_resource": "local",
        "state": "ACTIVE",
        "status": "online",
        "corecount": 8,
        "maxrss": 16000,
        "maxwdir": 100000,
        "maxtime": 3600,
        "copytools": {"https": {"setup": ""}},
        "astorages": {"write_lan": ["LOCAL"], "read_lan": ["LOCAL"]},
        "params": {},
    }
    assert pilot.refused("GET", "/cache/schedconfig/locl.all.json") == (
        404, "no queue 'locl' is served here; did you mean 'local'?",
    )  # fmt: skip


def test_storages(pilot):
    facts = pilot.get("/cache/ddmendpoints.json")
    (own,), (far,) = (facts[name]["arprotocols"]["write_lan"] for name in ("LOCAL", "FAR"))
    assert (own["endpoint"], own["path"]) == ("https://dispatcher.example.org:8443", "/storage/")
    assert (far["endpoint"], far["path"]) == ("https://far.example.org", "/data/")


# --- people ---


def test_queues_and_the_nodes_that_serve_them(person, pilot, clock):
    person.submit(count=3)
    pilot.acquire()
    told = person.get("/dispatcher/v1/queues")
    assert told["queues"][0] == {
        "name": "local", "status": "online", "states": {"activated": 2, "sent": 1}, "pilots": 1,
    }  # fmt: skip
    clock.advance(QUEUES["local"].lost_after_s)
    assert person.get("/dispatcher/v1/queues")["queues"][0]["pilots"] == 0


def test_pages_of_jobs(person):
    ids = person.submit(count=5)
    person.submit(id="other")
    first = person.get("/dispatcher/v1/jobs", limit=2, text="fit")
    assert ([job["id"] for job in first["jobs"]], first["total"]) == ([ids[4], ids[3]], 5)
    second = person.get("/dispatcher/v1/jobs", limit=2, text="fit", before=ids[3])
    assert [job["id"] for job in second["jobs"]] == [ids[2], ids[1]]
    assert person.get("/dispatcher/v1/jobs", text="100%_")["total"] == 0
    assert person.get("/dispatcher/v1/jobs", text=str(ids[2]))["jobs"][0]["id"] == ids[2]


@pytest.mark.parametrize(("query", "told"), [
    ({"state": "runing"}, "no state 'runing'; did you mean 'running'?"),
    ({"limit": "many"}, "limit wants a whole number, not 'many'"),
    ({"stat": "x"}, "no filter 'stat'; did you mean 'state'?"),
])  # fmt: skip
def test_filters_that_are_none(person, query, told):
    status, said = person.refused("GET", "/dispatcher/v1/jobs", **query)
    assert (status, said.startswith(told)) == (400, True)


def test_a_long_question_is_answered_when_something_changes(person, pilot):
    (job,) = person.submit()
    since = person.get("/dispatcher/v1/jobs")["version"]
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(person.get("/dispatcher/v1/jobs", since=since, wait_s=25)))
    waiting.start()
    pilot.acquire()
    waiting.join()
    assert [(each["id"], each["state"]) for each in answers[0]["jobs"]] == [(job, "sent")]


def test_a_long_question_ends_with_the_dispatcher(person, service):
    version = person.get("/dispatcher/v1/jobs")["version"]
    service.let_go()
    told = person.get("/dispatcher/v1/jobs", since=version, wait_s=25)
    assert (told["version"], told["jobs"]) == (version, [])


def test_a_job_that_is_not_there(person):
    assert person.refused("GET", "/dispatcher/v1/jobs/99") == (404, "there is no job '99' here")
    assert person.refused("GET", "/dispatcher/v1/jobs/x")[0] == 404


def test_a_malformed_submission_is_refused_whole_with_every_place(person):
    jobs = [{"description": DESCRIBED}, {"description": {"comand": ["x"], "outputs": [{"nmae": "o"}]}}]
    told = person.own("submit", {"queue": "locl", "jobs": jobs})
    assert {each["path"] for each in told["problems"]} >= {
        "queue",
        "jobs[1].description.comand",
        "jobs[1].description.outputs[0].nmae",
    }
    assert told["error"].startswith("queue: no queue 'locl' here; did you mean 'local'?")
    assert person.get("/dispatcher/v1/jobs")["total"] == 0


@pytest.mark.parametrize("value", [[], {}, {"jobs": []}, {"jobs": [5]}, {"jobs": 5}, {"job": []}])
def test_no_submission_at_all(person, value):
    assert person.own("submit", value)["problems"]


def test_steering(person, admin, pilot):
    waiting, held = person.submit(count=2)[::-1]
    pilot.acquire()
    assert person.own("cancel", {"ids": [waiting, held, 99]}) == {
        "done": [waiting, held],
        "refused": [{"id": 99, "why": "there is no such job"}],
    }
    assert pilot.update(held)["data"]["command"] == "tobekilled"
    assert person.own("retry", {"ids": [waiting]})["done"] == [waiting]
    assert person.get(f"/dispatcher/v1/jobs/{waiting}")["attempt"] == 2
    assert admin.own("debug", {"ids": [held], "on": True})["done"] == [held]
    assert pilot.update(held)["data"]["command"] == "debug,tobekilled"
    assert person.get(f"/dispatcher/v1/jobs/{held}")["debug"] is True


@pytest.mark.parametrize(("value", "told"), [
    ({}, "ids: names no job to cancel"),
    ({"ids": ["1"]}, "ids[0]: wants a job's number"),
    ({"ids": [1, True]}, "ids[1]: wants a job's number"),
    ({"ids": [1], "onn": True}, "onn: no such key; did you mean 'on'?"),
])  # fmt: skip
def test_steering_that_makes_no_sense(person, value, told):
    status, said = person.refused("POST", "/dispatcher/v1/cancel", value)
    assert (status, said.split("; there")[0]) == (400, told)


# --- stored files ---


def put(client: Client, scope: str, data: bytes = b"abc") -> int:
    digest = f"adler32={zlib.adler32(data):08x}"
    try:
        return client.ask("PUT", f"/storage/{scope}/out.txt", data, digest=digest).status
    except Refused as refused:
        return refused.status


def test_only_the_holder_of_a_lease_stores(pilot, person, service, clock):
    (job,) = person.submit()
    assert put(pilot, f"{job}.1") == 403
    pilot.acquire()
    assert [put(pilot, scope) for scope in (f"{job}.2", "99.1", "inputs", f"{job}")] == [403] * 4
    assert [put(pilot, f"{job}.1"), put(pilot, f"{job}.1"), put(pilot, f"{job}.1", b"xyz")] == [201, 200, 409]
    clock.advance(QUEUES["local"].lost_after_s)
    service.sweep()
    pilot.acquire()
    assert (put(pilot, f"{job}.1"), put(pilot, f"{job}.2", b"xyz")) == (403, 201)
    pilot.update(job, "finished", 2, job_output_report=REPORT)
    assert put(pilot, f"{job}.2", b"xyz") == 403
    fetched = person.ask("GET", f"/storage/{job}.2/out.txt")
    assert fetched.file
    assert fetched.file.read() == b"xyz"
    fetched.file.close()


def test_inputs_come_from_people_and_go_to_pilots(pilot, person):
    place = f"/storage/inputs/{hashlib.sha256(b'abc').hexdigest()}/in.txt"
    assert person.ask("PUT", place, b"abc").status == 201
    fetched = pilot.ask("GET", place, range="bytes=1-")
    assert (fetched.status, fetched.length) == (206, 2)
    assert fetched.file
    fetched.file.close()

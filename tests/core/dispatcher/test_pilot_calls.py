"""PanDA's calls for pilots in the first version: what they take, and how they say what they do not."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from pilot_core.dispatcher.config import Config
from pilot_core.dispatcher.service import Service
from pilot_core.dispatcher.store import Store
from pilot_core.io.http_token import expiry

from .asking import DESCRIBED, QUEUES, REPORT, STORAGES, Client

UPDATE = "/api/v1/pilot/update_job"


def test_a_job_from_beginning_to_end(pilot, person):
    (job,) = person.submit()
    told = pilot.acquire()
    assert (told["success"], told["message"], told["data"]["StatusCode"]) == (True, "", 0)
    (wire,) = told["data"]["jobs"]
    assert (wire["PandaID"], wire["attemptNr"], wire["heartbeat"], wire["StatusCode"]) == (job, 1, 2, 0)
    going_on = {"success": True, "message": "", "data": {"StatusCode": 0, "command": "NULL", "heartbeat": 2.0}}
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


def test_a_word_without_an_attempt_is_of_the_first_one(pilot, person, service, clock):
    person.submit()
    pilot.acquire()
    running = {"job_id": 1, "job_status": "running"}
    assert pilot.post("/api/v1/pilot/update_job", running)["data"]["command"] == "NULL"
    clock.advance(QUEUES["local"].lost_after_s)
    service.sweep()
    pilot.acquire()
    assert pilot.post("/api/v1/pilot/update_job", running)["data"]["command"] == "tobekilled"
    assert pilot.update(1, attempt=2)["data"]["command"] == "NULL"


def test_a_type_that_breaks_the_check_of_types_breaks_the_call(pilot):
    told = {"job_id": 1, "job_status": "running", "attempt_nr": 1, "max_rss": "5"}
    answer = pilot.ask("POST", UPDATE, json.dumps(told).encode(), **{"content-type": "application/json"})
    assert (answer.status, answer.type) == (500, "text/plain")
    assert answer.body == b"Type error: 'max_rss' must be of type int or float, got str."
    told = pilot.post("/api/v1/pilot/update_jobs_bulk", {"job_list": [told]})
    assert (told["success"], told["data"]) == (False, [])


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


@pytest.mark.parametrize(("method", "path", "body", "status", "told"), [
    ("GET", "pilot/update_job", b"", 200, '"message":"expecting POST, received GET"'),
    ("POST", "pilot/no_such", b"{}", 403, "ERROR : method /api/v1/pilot/no_such is forbidden"),
    ("POST", "pilot/update_job", b"{", 500, "the body is not JSON"),
    ("POST", "pilot/update_job", b"", 500, "the body is not JSON"),
])  # fmt: skip
def test_what_cannot_be_done_is_told_as_panda_tells_it(pilot, method, path, body, status, told):
    answer = pilot.ask(method, f"/api/v1/{path}", body, **{"content-type": "application/json"})
    assert (answer.status, answer.type) == (status, "text/plain")
    assert told in answer.body.decode()


def test_who_does_not_ask_for_json_gets_what_python_writes(pilot):
    answer = pilot.ask("GET", "/api/v1/system/is_alive", accept="*/*")
    assert answer.body == b"{'success': True, 'message': '', 'data': 'alive=yes'}"


def test_too_little_time_to_look_is_no_job(pilot, person):
    person.submit()
    assert pilot.acquire(timeout=10)["message"].startswith("No jobs in PanDA: a 'timeout' of 10 s")
    assert pilot.acquire(timeout=11)["success"] is True


def test_who_cannot_be_noted_gets_no_job(pilot, person):
    person.submit()
    assert "'node' has 129 bytes; there is room for 128" in pilot.acquire(node="n" * 129)["message"]
    assert pilot.acquire(node="n" * 128)["success"] is True


@pytest.mark.parametrize("more", [{"pilot_timing": "1" * 101}, {"pilot_error_diag": "\u20ac" * 200}])
def test_what_the_database_has_no_room_for_spoils_the_whole_update(pilot, person, more):
    (job,) = person.submit()
    pilot.acquire()
    told = pilot.update(job, "failed", **more)
    assert (told["success"], told["data"]["StatusCode"]) == (True, 30)
    assert told["data"]["ErrorDiag"].startswith("Database error: ")
    assert pilot.get("/api/v1/pilot/get_job_status", job_ids=job)["data"][0]["status"] == "sent"


def test_a_payload_s_report_on_a_job_that_is_gone_hides_what_became_of_it(pilot, person):
    (job,) = person.submit()
    person.own("cancel", {"ids": [job]})
    for given in (job, 99):
        told = pilot.update(given, "finished", meta_data="{}")
        assert told["data"] == {"StatusCode": 30, "ErrorDiag": "Failed to add meta_data"}
        assert pilot.update(given, "finished")["data"]["command"] == "tobekilled"
        assert pilot.update(given, "failed", meta_data="{}")["data"]["command"] == "tobekilled"


def test_how_jobs_stand_and_what_their_pilots_are_told(pilot, person, admin):
    job, other = person.submit(count=2)
    pilot.acquire()
    admin.own("debug", {"ids": [job], "on": True})
    person.own("cancel", {"ids": [job, other]})
    assert pilot.get("/api/v1/job/get_status", job_ids=[job, other, 99])["data"] == [
        {"status": "sent", "command": "debug,tobekilled"},
        {"status": "cancelled", "command": "tobekilled"},
        {"status": "unknown", "command": "tobekilled"},
    ]


@pytest.mark.parametrize("path", ["/api/v1/job/get_status", "/api/v1/pilot/get_job_status"])
@pytest.mark.parametrize(("query", "message"), [
    ({}, "Argument error: missing a required argument: 'job_ids'"),
    ({"job_ids": "1,2"}, "Type error: 'job_ids' must be of type int, got '1,2'."),
    ({"job_ids": 1, "x": 1}, "Argument error: got an unexpected keyword argument 'x'"),
])  # fmt: skip
def test_a_question_that_is_asked_wrongly(pilot, path, query, message):
    assert pilot.get(path, **query) == {"success": False, "message": message, "data": None}


NODE = {"site": "local", "host_name": "n1", "cpu_model": "fast"}


@pytest.mark.parametrize(("what", "told", "message"), [
    ("status", {"worker_id": "7", "harvester_id": "h", "status": "started"}, ""),
    ("status", {"worker_id": 7, "harvester_id": "h", "status": "going"}, "Invalid worker state 'going'"),
    ("node", {**NODE, "clock_speed": 2400.0}, "Inserted new worker node."),
    ("node", {**NODE, "clock_speed": 2400}, "Type error: 'clock_speed' must be of type float, got int."),
    ("node", {"site": "local"}, "Argument error: missing a required argument: 'host_name'"),
    ("node_gpu", {"site": "local", "host_name": "n1", "vendor": "v", "model": "m", "count": 2}, ""),
])  # fmt: skip
def test_workers_and_nodes(pilot, what, told, message):
    answer = pilot.post(f"/api/v1/pilot/update_worker_{what}", told)
    assert answer == {"success": message in ("", "Inserted new worker node."), "message": message, "data": None}


def test_one_generation_may_be_all_that_is_spoken(service, tokens, tmp_path, clock):
    store = Store(tmp_path / "other.sqlite", clock)
    older = Service(store, service._storage, Config(QUEUES, STORAGES, ("legacy",)), tokens, clock)
    for version in ("v1", "latest"):
        assert Client(older, "run").refused("GET", f"/api/{version}/system/is_alive")[0] == 404
    assert Client(older, "run").ask("GET", "/server/panda/isAlive").body == b"alive=yes"
    older.close()


def test_debug_mode_succeeds_where_it_says_the_opposite(pilot, person, admin):
    (job,) = person.submit()
    pilot.acquire()
    path = "/api/v1/job/set_debug_mode"
    told = admin.post(path, {"job_id": job, "mode": True})
    assert told == {"success": False, "message": "Succeeded", "data": None}
    assert pilot.update(job)["data"]["command"] == "debug"
    assert admin.post(path, {"job_id": job, "mode": False})["message"] == "Succeeded"
    assert pilot.update(job)["data"]["command"] == "debugoff"
    assert admin.post(path, {"job_id": 99, "mode": True})["message"] == "there is no such job"
    assert admin.post(path, {"job_id": job})["message"] == "Argument error: missing a required argument: 'mode'"


def test_kinds_of_slots(pilot):
    single, several = pilot.get("/api/v1/metaconfig/get_resource_types")["data"]
    assert single == {
        "resource_name": "SCORE", "mincore": 1, "maxcore": 1, "minrampercore": None, "maxrampercore": None,
    }  # fmt: skip
    assert (several["resource_name"], several["mincore"], several["maxcore"]) == ("MCORE", 2, None)


def test_the_latest_version_is_the_first(pilot):
    assert pilot.get("/api/latest/system/is_alive")["success"] is True
    answer = pilot.ask("GET", "/api/latest/no/such")
    assert (answer.status, b"method /api/v1/no/such is forbidden" in answer.body) == (403, True)


# --- credentials ---


def renewed(pilot, key, client="c"):
    return pilot.get("/api/v1/creds/get_access_token", client_name=client, token_key=key)


def test_a_token_for_the_token_key(pilot, tokens, clock):
    told = renewed(pilot, tokens.key)
    token = told["data"]["user_proxy"]
    assert (told["success"], told["message"], told["data"].keys()) == (True, "", {"user_proxy"})
    assert tokens.role(token) == "run"
    assert expiry(token) == int(clock.now() + Config().token_life_s)


@pytest.mark.parametrize("key", ["", "k", "\u20ac"])
def test_no_token_for_another_key(pilot, key):
    told = renewed(pilot, key)
    assert told == {"success": False, "message": "failed since token key is invalid for c", "data": None}


def test_no_token_for_no_key(pilot, tokens):
    tokens.path("key").unlink()
    assert renewed(pilot, "")["message"] == "failed since token key is invalid for c"
    assert pilot.get("/api/v1/creds/get_access_token", client_name="c")["success"] is False
    assert pilot.get("/api/v1/creds/get_access_token")["message"].startswith("Argument error: missing")


def test_no_token_where_nobody_can_sign_one(pilot, tokens):
    tokens.path("admin").unlink()
    assert renewed(pilot, tokens.key)["message"] == "'token' not found for c"


def test_the_token_key_is_told_to_administrators(admin, tokens):
    assert admin.get("/api/v1/creds/get_token_key", client_name="c")["data"] == {"tokenKey": tokens.key}
    tokens.path("key").unlink()
    assert admin.get("/api/v1/creds/get_token_key", client_name="c")["message"] == "'token key' not found for c"


def test_a_proxy_where_the_configuration_names_one(pilot, proxy):
    pem = proxy()
    told = pilot.get("/api/v1/creds/get_proxy", role="vo:/vo/Role=production", dn="somebody")
    assert told == {"success": True, "message": "", "data": {"user_proxy": pem}}


def test_no_proxy_where_it_names_none(service, tokens, tmp_path, clock):
    with closing(Service(Store(tmp_path / "o.sqlite", clock), service._storage, Config(), tokens, clock)) as other:
        told = Client(other, "run").get("/api/v1/creds/get_proxy")
    assert told["message"] == "'proxy' not found: the dispatcher's configuration names none"


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"-----BEGIN"])
def test_no_proxy_that_is_none(pilot, tmp_path, content, caplog):
    if content is not None:
        (tmp_path / "proxy.pem").write_bytes(content)
    told = pilot.get("/api/v1/creds/get_proxy")
    assert (told["success"], told["message"]) == (False, "'proxy' not found: its file is of no use now")
    assert f"no pilot gets the proxy {tmp_path}/proxy.pem: " in caplog.text


def test_no_proxy_that_is_over(pilot, proxy, clock):
    proxy()
    clock.advance(3700 * 86400)
    assert pilot.get("/api/v1/creds/get_proxy")["success"] is False


def test_nobody_entrusts_secrets_to_a_dispatcher(pilot):
    told = pilot.get("/api/v1/creds/get_user_secrets", keys=["K1", "K2"])
    assert told == {"success": True, "message": "", "data": "{}"}


def test_alive(pilot):
    assert pilot.get("/api/v1/system/is_alive")["success"] is True


def test_a_database_that_fails_is_a_reason_to_say_it_again(pilot, person, service):
    person.submit()
    with service.store.reading() as database:
        database.execute("PRAGMA query_only = 1")
    assert pilot.acquire()["message"].startswith("No jobs in PanDA: ")
    assert pilot.get("/api/v1/pilot/get_job_status", job_ids=1)["data"][0]["status"] == "activated"
    status, told = person.refused("POST", "/dispatcher/v1/cancel", {"ids": [1]})
    assert (status, "try again" in told) == (503, True)


def test_a_lost_job_is_swept_back(pilot, person, service, clock):
    (job,) = person.submit()
    pilot.acquire()
    assert service.sweep() == []
    clock.advance(QUEUES["local"].lost_after_s)
    assert service.sweep() == [job]
    assert pilot.acquire()["data"]["jobs"][0]["attemptNr"] == 2
    told = {"StatusCode": 0, "command": "tobekilled", "newer_attempt": 2}
    assert pilot.update(job)["data"] == told

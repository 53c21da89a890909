"""What pilots take as given of a server: the protocol subset, for a dispatcher of our own or any server's URL."""

from __future__ import annotations

import gzip
import json
from urllib.parse import urlencode

import pytest
from attrs import evolve

from .asking import FORM, JSON, Asker
from .ids import half

NOBODY = 4_000_000_000_000
"""A job that no server has."""
REPORT = json.dumps({"out.txt": {"guid": "g", "fsize": 3, "adler32": "01020304"}})
ACQUIRE, UPDATE, STATES = "pilot/acquire_jobs", "pilot/update_job", "pilot/get_job_status"


def take(server, count=1):
    (*jobs,) = server.submit(count)
    told = server.acquire(n_jobs=count)
    assert [each["PandaID"] for each in told["data"]["jobs"]] == jobs
    return jobs


# --- transport and encoding ---


@half("T-01")
def test_a_packed_body_is_read_as_a_plain_one_is(server):
    given = json.dumps({"job_id": NOBODY, "job_status": "running", "attempt_nr": 1}).encode()
    headers = {"Content_Type": JSON, "Accept": JSON, "Content_Encoding": "gzip"}
    told = server.asker.ask("POST", f"/api/v1/{UPDATE}", gzip.compress(given), **headers).json()
    assert told == server.update(NOBODY)
    assert told["data"]["command"] == "tobekilled"


@half("T-01")
@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/json", FORM])
def test_what_is_not_labelled_as_json_has_no_arguments(server, kind):
    told = server.post(UPDATE, {"job_id": 1}, Content_Type=kind).json()
    assert (told["success"], told["data"]) == (False, None)
    assert told["message"].startswith("Argument error")


@half("T-02")
def test_older_calls_take_a_form_or_packed_json(server):
    given = {"jobId": NOBODY, "state": "running", "attemptNr": 1, "timestamp": "now"}
    assert server.call("updateJob", **given).json()["command"] == "tobekilled"
    assert server.call("updateJob", accept="*/*", **given).form()["command"] == "tobekilled"
    assert server.packed("updateJob", **given).json()["command"] == "tobekilled"


@half("T-02")
def test_older_calls_take_no_json_that_is_not_packed(ours):
    given = {"jobId": NOBODY, "state": "running", "attemptNr": 1}
    assert ours.plain("updateJob", **given).status == 500


@half("T-03")
def test_json_is_labelled_as_text(server):
    said = server.get("system/is_alive")
    assert said.headers["Content-Type"].startswith("text/plain")
    assert said.json()["success"] is True


@half("T-03")
def test_who_does_not_ask_for_json_gets_none(server):
    said = server.get("system/is_alive", Accept="*/*")
    assert said.text.startswith("{'success': True")


@half("T-06")
@pytest.mark.parametrize("body", [b"{", b"", b"null and void"])
def test_what_is_no_json_breaks_the_call(ours, body):
    said = ours.asker.ask("POST", f"/api/v1/{UPDATE}", body, Content_Type=JSON, Accept=JSON)
    assert said.status == 500


@half("T-07")
def test_a_call_that_is_unknown_is_forbidden_and_a_path_that_is_unknown_is_not_found(server):
    said = server.asker.ask("POST", "/server/panda/noSuchCall", b"", Content_Type=FORM)
    assert (said.status, "is forbidden" in said.text, said.text[:8]) == (403, True, "ERROR : ")
    assert server.get("pilot/no_such_call").status in (403, 404)
    assert server.asker.ask("GET", "/api/v0/system/is_alive").status == 404


@half("T-13")
def test_a_list_is_a_name_that_stands_several_times(server):
    rows = server.get(STATES, f"job_ids={NOBODY}&job_ids={NOBODY + 1}").json()["data"]
    assert [row["job_id"] for row in rows] == [NOBODY, NOBODY + 1]
    assert server.get(STATES, f"job_ids={NOBODY},{NOBODY + 1}").json()["message"].startswith("Type error: 'job_ids'")


# --- types ---


@half("U-14", "U-04")
@pytest.mark.parametrize(("given", "name"), [
    ({"job_id": "7"}, "job_id"),
    ({"attempt_nr": 1.0}, "attempt_nr"),
    ({"mean_core_count": 7.6}, "mean_core_count"),
    ({"cpu_consumption_time": 3.0}, "cpu_consumption_time"),
    ({"node": 5}, "node"),
    ({"meta_data": None}, "meta_data"),
    ({"job_output_report": None}, "job_output_report"),
])  # fmt: skip
def test_another_type_spoils_the_whole_call(server, given, name):
    told = server.post(UPDATE, {"job_id": NOBODY, "job_status": "running", "attempt_nr": 1, **given}).json()
    assert (told["success"], told["data"]) == (False, None)
    assert told["message"].startswith(f"Type error: '{name}' must be of type ")


@half("U-14")
def test_a_type_that_is_none_of_several_breaks_the_call(ours):
    said = ours.post(UPDATE, {"job_id": NOBODY, "job_status": "running", "max_rss": "5"})
    assert said.status == 500


@half("J-14")
@pytest.mark.parametrize(
    ("method", "name"), [(ACQUIRE, "target_architecture"), (ACQUIRE, "cpu"), (UPDATE, "timestamp")]
)
def test_a_name_that_is_unknown_spoils_the_whole_call(server, method, name):
    update = {"job_id": NOBODY, "job_status": "running", "attempt_nr": 1}
    told = server.post(method, {**(update if method == UPDATE else {"site_name": server.queue}), name: "x"}).json()
    assert (told["success"], told["data"]) == (False, None)
    assert told["message"].startswith("Argument error: ")
    assert f"'{name}'" in told["message"]


@half("T-01")
def test_a_call_is_by_its_own_method(server):
    assert server.get(UPDATE).json()["message"] == "expecting POST, received GET"


# --- who asks ---


@half("A-04", "A-11")
def test_a_token_that_is_none_is_told_in_plain_text(server):
    said = server.post(ACQUIRE, {"site_name": server.queue}, Authorization="Bearer nobody", Origin="none.production")
    assert (said.status, said.text[:8]) == (403, "ERROR : ")


@half("A-09")
def test_who_is_no_pilot_gets_no_job(server):
    server.submit()
    token = server.stage.token("submit").read_text().strip()
    told = server.post(ACQUIRE, {"site_name": server.queue}, Authorization=f"Bearer {token}").json()
    assert (told["success"], told["data"]) == (False, None)
    assert told["message"].startswith("production or pilot role required")
    older = server.asker.headers | {"Authorization": f"Bearer {token}"}
    said = server.asker.ask("POST", "/server/panda/getJob", b"siteName=local", Content_Type=FORM, Accept=JSON, **older)
    assert said.json()["StatusCode"] == 60


@pytest.mark.parametrize(("origin", "told"), [(None, "403"), ("other:production", "403"), ("example.user", "role")])
def test_a_token_is_worth_nothing_but_in_somebodys_name(strict_server, dialect, origin, told):
    """No name, one that it does not know, one that is no pilot's."""
    strict_server.submit()
    stage = strict_server.stage
    with Asker(stage.url, stage.token(), stage.certificate, origin) as asker:
        asked = evolve(strict_server, asker=asker)
        if dialect == "v1":
            said = asked.post(ACQUIRE, {"site_name": "local"})
            refused = said.status == 200 and said.json()["message"].startswith("production or pilot role required")
        else:
            said = asked.call("getJob", siteName="local")
            refused = said.status == 200 and said.json()["StatusCode"] == 60
    unknown = said.status == 403 and said.text.startswith("ERROR : Token authentication failed.")
    assert (refused, unknown) == (told == "role", told == "403")
    assert [job["state"] for job in stage.jobs()] == ["activated"]


def test_the_role_of_pilots_is_enough_for_older_calls_alone(strict_server):
    strict_server.submit()
    headers = {"Origin": "example.pilot"}
    told = strict_server.post(ACQUIRE, {"site_name": "local"}, **headers).json()
    assert told["message"].startswith("production or pilot role required")
    said = strict_server.asker.ask("POST", "/server/panda/getJob", b"siteName=local", Content_Type=FORM, **headers)
    assert said.form()["StatusCode"] == "0"


def test_nothing_is_told_that_panda_has_no_word_for(strict_server):
    """Each is an answer that the dispatcher as it is says more in."""
    server, plain = strict_server, {"StatusCode": 0, "command": "NULL"}
    job, older = server.submit(2, environment={"A": "b"}, options={"x.y": 1}, limits={"looping": "1 h"})
    (taken,) = server.acquire()["data"]["jobs"]
    flat = server.call("getJob", accept="*/*", siteName="local").form()
    for each in (taken, flat):
        assert not {"heartbeat", "environment", "options", "optional", "loopingLimit"} & each.keys()
    server.stage.web("admin").call("POST", "/dispatcher/v1/debug", json={"ids": [job, older], "on": False})
    assert server.update(job)["data"] == plain
    given = {"jobId": older, "state": "running", "attemptNr": 1}
    assert server.call("updateJob", **given).json() == plain
    assert server.call("updateJob", accept="*/*", **given).form() == {"StatusCode": "0", "command": "NULL"}
    _, rows = server.call("updateJobsInBulk", jobList=json.dumps([given])).json()
    assert json.loads(rows[0]["content"]) == plain
    none = server.post(ACQUIRE, {"site_name": "elsewhere"})
    assert (none.json()["message"], "Retry-After" in none.headers) == ("No jobs in PanDA", False)


# --- credentials ---


CREDS = "creds/get_access_token"


def renewed(server, dialect, key):
    """The token that the server gives for the token key, or what it says instead."""
    given = {"client_name": "pilot_server", "token_key": key}
    if dialect == "legacy":
        told = server.call("get_access_token", **given).json()
        return told.get("userProxy"), told["StatusCode"], told["errorDialog"]
    told = server.get(CREDS, urlencode(given)).json()
    return told["data"] and told["data"]["user_proxy"], 0 if told["success"] else 50, told["message"]


@half("A-04", "A-06")
def test_a_token_is_renewed_for_the_token_key(ours, dialect):
    key = (ours.stage.home / "tokens" / "key").read_text().strip()
    token, status, message = renewed(ours, dialect, key)
    assert (status, message, len(token.split("."))) == (0, "", 3)
    assert ours.get(STATES, f"job_ids={NOBODY}", Authorization=f"Bearer {token}").json()["success"] is True
    spoiled = ours.get(STATES, f"job_ids={NOBODY}", Authorization=f"Bearer {token[:-2]}")
    assert (spoiled.status, spoiled.text[:8]) == (403, "ERROR : ")


@half("A-07")
def test_no_token_is_given_for_another_key(server, dialect):
    told = renewed(server, dialect, "nobody's")
    assert (told[0], told[1] != 0, bool(told[2])) == (None, True, True)


@half("A-12")
def test_no_proxy_is_given_where_there_is_none(ours):
    told = ours.get("creds/get_proxy", "role=vo").json()
    assert (told["success"], told["data"]) == (False, None)
    assert ours.call("getProxy", role="vo").json()["StatusCode"] == 90


@half("M-05")
def test_secrets_are_a_text_with_json(ours):
    assert ours.get("creds/get_user_secrets", "keys=MB_USERNAME&keys=MB_PASSWORD").json()["data"] == "{}"
    assert ours.call("get_user_secrets", keys="MB_USERNAME,MB_PASSWORD", get_json=True).json() == [True, {}]


@half("M-01")
def test_debug_mode_succeeds_where_it_says_the_opposite(ours):
    (job,) = take(ours)
    token = ours.stage.token("admin").read_text().strip()
    told = ours.post("job/set_debug_mode", {"job_id": job, "mode": True}, Authorization=f"Bearer {token}").json()
    assert (told["success"], told["message"]) == (False, "Succeeded")
    assert ours.update(job)["data"]["command"] == "debug"


@half("M-02")
def test_kinds_of_slots(server):
    kinds = server.get("metaconfig/get_resource_types").json()["data"]
    assert {"resource_name", "mincore", "maxcore", "minrampercore", "maxrampercore"} <= kinds[0].keys()


# --- jobs ---


@half("J-02")
def test_no_job(server):
    told = server.acquire(prod_source_label="rc_nobody", timeout=11)
    assert (told["success"], told["data"]) == (False, None)
    assert told["message"].startswith("No jobs in PanDA")
    assert server.call("getJob", siteName=server.queue, prodSourceLabel="rc_nobody").json()["StatusCode"] == 20


@half("J-07")
def test_one_job_comes_in_four_shapes(server):
    server.submit(4)
    one = {"siteName": server.queue}
    (first,) = server.acquire()["data"]["jobs"]
    flat = server.call("getJob", **one).json()
    (listed,) = server.call("getJob", nJobs=1, **one).json()["jobs"]
    form = server.call("getJob", accept="*/*", **one).form()
    assert (first["StatusCode"], flat["StatusCode"], listed["StatusCode"], form["StatusCode"]) == (0, 0, 0, "0")
    assert first.keys() == flat.keys() == listed.keys() == form.keys()
    assert form["jobPars"] == flat["jobPars"] == listed["jobPars"] == first["jobPars"]


@half("J-08")
def test_fewer_jobs_may_come_than_were_asked_for(server):
    jobs = server.submit(2)
    assert [each["PandaID"] for each in server.acquire(n_jobs=4)["data"]["jobs"]] == jobs


@half("J-21")
def test_too_short_a_time_finds_nothing(server):
    server.submit()
    assert server.acquire(timeout=10)["message"].startswith("No jobs in PanDA")
    assert server.acquire(timeout=11)["success"] is True


# --- updates ---


@half("U-01")
def test_a_job_goes_its_way(server):
    (job,) = take(server)
    for status in ("starting", "running", "running", "finished"):
        told = server.update(job, status, job_output_report=REPORT if status == "finished" else "")
        assert (told["success"], told["data"]["StatusCode"], told["data"]["command"]) == (True, 0, "NULL")


@half("M-04")
def test_how_unknown_jobs_stand(server):
    (row,) = server.get(STATES, f"job_ids={NOBODY}").json()["data"]
    assert row == {"job_id": NOBODY, "status": "not found", "attempt_number": 0}
    told = server.call("getStatus", ids=f"{NOBODY} {NOBODY + 1}").json()
    assert (told["status"], told["attemptNr"]) == ("notfound+notfound", "0+0")
    (row,) = server.get("job/get_status", f"job_ids={NOBODY}").json()["data"]
    assert row == {"status": "unknown", "command": "tobekilled"}


@half("U-10", "U-08")
@pytest.mark.parametrize("more", [{"pilot_timing": "1" * 101}, {"pilot_error_diag": "\u20ac" * 300}])
def test_what_is_too_wide_for_the_database_spoils_the_update(server, more):
    (job,) = take(server)
    told = server.update(job, "failed", **more)
    assert (told["success"], told["data"]["StatusCode"]) == (True, 30)
    assert server.update(job, "failed")["data"]["command"] == "NULL"


@half("F-03", "J-12")
def test_an_end_that_is_told_twice_is_known(server):
    (job,) = take(server)
    server.update(job, "finished", job_output_report=REPORT)
    told = server.update(job, "finished", job_output_report=REPORT)
    assert told["data"] == {"StatusCode": 0, "command": "alreadydone"}


@half("F-10", "J-12")
def test_what_is_said_after_the_end_changes_nothing_and_stops_nobody(server):
    (job,) = take(server)
    server.update(job, "finished", job_output_report=REPORT, batch_id="ce#1")
    for status in ("starting", "running", "holding"):
        assert server.update(job, status, batch_id="ce#1")["data"]["command"] == "NULL"
    assert server.update(job, "finished", batch_id="ce#2")["data"]["command"] == "alreadydone"


@half("F-08")
def test_a_report_on_a_job_that_is_gone_hides_its_fate(server):
    told = server.update(NOBODY, "finished", meta_data="{}")
    assert told["data"] == {"StatusCode": 30, "ErrorDiag": "Failed to add meta_data"}
    assert server.update(NOBODY, "finished")["data"]["command"] == "tobekilled"


@half("F-16")
def test_in_bulk_each_is_answered_and_one_that_is_none_hides_all(server):
    known = {"job_id": NOBODY, "job_status": "running", "attempt_nr": 1}
    told = server.post("pilot/update_jobs_bulk", {"job_list": [known, {**known, "job_status": "odd"}]}).json()
    assert [each["success"] for each in told["data"]] == [True, False]
    told = server.post("pilot/update_jobs_bulk", {"job_list": [known, {}]}).json()
    assert (told["success"], told["data"]) == (False, [])
    older = {"jobId": NOBODY, "state": "running", "attemptNr": 1}
    done, rows = server.call("updateJobsInBulk", jobList=json.dumps([older])).json()
    assert (done, json.loads(rows[0]["content"])["command"]) == (True, "tobekilled")


@half("F-16")
def test_a_state_that_is_none(server):
    told = server.update(NOBODY, "dancing")
    assert (told["success"], told["data"]["StatusCode"]) == (False, 50)
    assert server.call("updateJob", jobId=NOBODY, state="dancing", attemptNr=1).json()["StatusCode"] == 0


# --- commands ---


@half("C-13")
def test_another_attempt_is_stopped(server):
    (job,) = take(server)
    assert server.update(job, attempt=2)["data"]["command"] == "tobekilled"
    assert server.update(job)["data"]["command"] == "NULL"


@half("C-15", "C-07", "C-17")
def test_a_kill_is_told_where_the_dialect_has_it(server):
    (job,) = take(server)
    cancel = {"ids": [job]}
    server.stage.web("submit").call("POST", "/dispatcher/v1/cancel", json=cancel)
    for _ in range(2):
        assert server.update(job, "starting")["data"]["command"] == "tobekilled"
    assert server.call("updateJob", jobId=job, state="starting", attemptNr=1).json()["command"] == "tobekilled"
    assert server.update(job, "failed", pilot_error_code=1144)["data"]["command"] == "tobekilled"


@half("C-05", "C-09")
def test_debug_stands_before_a_kill(server, strict):
    (job,) = take(server)
    web = server.stage.web("admin")
    for on, command in ((True, "debug"), (False, "NULL" if strict else "debugoff"), (True, "debug")):
        web.call("POST", "/dispatcher/v1/debug", json={"ids": [job], "on": on})
        assert server.update(job)["data"]["command"] == command
    web.call("POST", "/dispatcher/v1/cancel", json={"ids": [job]})
    assert server.update(job)["data"]["command"] == "debug,tobekilled"


@half("F-03")
def test_a_second_incarnation_is_stopped(server):
    (job,) = take(server)
    assert server.update(job, batch_id="ce#1")["data"]["command"] == "NULL"
    assert server.update(job, batch_id="ce#2")["data"]["command"] == "tobekilled"
    assert server.update(job, batch_id="77")["data"]["command"] == "NULL"


# --- nodes ---


@half("U-17")
def test_what_a_node_is_like_is_typed_too(server):
    node = {"site": server.queue, "host_name": "conformance", "cpu_model": "none", "clock_speed": 2400}
    told = server.post("pilot/update_worker_node", node).json()
    assert told["message"].startswith("Type error: 'clock_speed' must be of type float")


@half("U-18")
def test_a_worker_starts_or_ends_and_nothing_else(server):
    told = server.post("pilot/update_worker_status", {"worker_id": 1, "harvester_id": "none", "status": "odd"}).json()
    assert (told["success"], "nvalid worker state" in told["message"]) == (False, True)
    older = {"site": server.queue, "workerID": 1, "harvesterID": "none"}
    assert "nvalid worker state" in server.call("updateWorkerPilotStatus", status="odd", **older).text

"""Every route of the dispatcher: what it answers, to whom, and what it refuses with which words."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib

import pytest

from pilot_core.dispatcher.config import Config, ServedStorage
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Request
from pilot_core.dispatcher.service import Service
from pilot_core.dispatcher.stored import SMALL_B
from pilot_core.dispatcher.wire import scope_of

from .asking import DESCRIBED, QUEUES, REPORT, Body, Client

# --- who may what ---

PATHS = {
    ("POST", "/api/v1/pilot/acquire_jobs"): "run",
    ("POST", "/api/v1/pilot/update_job"): "run",
    ("POST", "/api/v1/pilot/update_jobs_bulk"): "run",
    ("GET", "/api/v1/pilot/get_job_status"): "run",
    ("POST", "/api/v1/pilot/update_worker_status"): "run",
    ("POST", "/api/v1/pilot/update_worker_node"): "run",
    ("POST", "/api/v1/pilot/update_worker_node_gpu"): "run",
    ("GET", "/api/v1/job/get_status"): "run",
    ("POST", "/api/v1/job/set_debug_mode"): "",
    ("GET", "/api/v1/creds/get_access_token"): "run",
    ("GET", "/api/v1/creds/get_proxy"): "run",
    ("GET", "/api/v1/creds/get_token_key"): "",
    ("GET", "/api/v1/creds/get_user_secrets"): "run",
    ("GET", "/api/v1/metaconfig/get_resource_types"): "run",
    ("GET", "/api/latest/pilot/get_job_status"): "run",
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
            told = turned_away(Client(service, role), method, path)
            assert f"the token is for '{role}'; this takes one for" in told
    for role in (*PATHS[method, path].split(), "admin"):
        assert may(Client(service, role), method, path)


def turned_away(client: Client, method: str, path: str) -> str:
    """Why somebody with another token is; of pilots' calls PanDA says it in its envelope."""
    if not path.startswith("/api/"):
        status, told = client.refused(method, path, {})
        assert status == 403
        return told
    answer = client.ask(method, path, b"{}", **{"content-type": "application/json"})
    told = json.loads(answer.body)
    assert (answer.status, told["success"], told["data"]) == (200, False, None)
    assert told["message"].startswith("production or pilot role required: ")
    return told["message"]


def may(client: Client, method: str, path: str) -> bool:
    try:
        answer = client.ask(method, path, b"{}", **{"content-type": "application/json"})
    except Refused as refused:
        return "the token is for" not in refused.text
    return answer.file is not None or b"the token is for" not in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *PATHS,
        ("GET", "/nowhere"),
        ("POST", "/"),
        ("GET", "/api/v1/nowhere"),
        ("POST", "/server/panda/getJob"),
    ],
)
@pytest.mark.parametrize("role", [None, "other"])
def test_without_a_token_there_is_nothing_not_even_what_is_not_there(service, method, path, role):
    needed = "a valid token is needed; send it as 'Authorization: Bearer ...'"
    client = Client(service, role)
    if path.startswith(("/api/", "/server/")):
        answer = client.ask(method, path, b"{}")
        assert (answer.status, answer.type) == (403, "text/plain")
        assert answer.body.decode() == f"ERROR : Token authentication failed. {needed}"
    else:
        assert client.refused(method, path, {}) == (403, needed)


NOT_OFFERED = {
    "event": ("acquire_event_ranges", "update_event_ranges", "update_single_event_range", "get_event_range_statuses"),
    "creds": ("get_key_pair",),
    "harvester": ("acquire_commands", "acknowledge_commands"),
    "": ("getEventRanges", "updateEventRanges", "updateEventRange", "get_events_status", "getKeyPair", "getCommands"),
}
"""PanDA's calls that pilots know and nobody answers here, by their modules; older ones have none."""


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in NOT_OFFERED.items() for name in names]
)
def test_calls_that_are_not_offered_are_forbidden_as_panda_forbids_what_it_does_not_know(pilot, module, name):
    path = f"/api/v1/{module}/{name}" if module else f"/server/panda/{name}"
    answer = pilot.ask("POST", path, b"", **{"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.type, answer.body[:8]) == (403, "text/plain", b"ERROR : ")
    assert b"is forbidden" in answer.body


def test_the_page_is_for_everybody_and_holds_nothing(anybody, person):
    person.submit(id="secret-name")
    answer = anybody.ask("GET", "/")
    assert (answer.status, answer.type) == (200, "text/html; charset=utf-8")
    assert b"secret-name" not in answer.body


def test_what_is_not_there(admin):
    status, told = admin.refused("GET", "/dispatcher/v1/job")
    assert (status, "did you mean '/dispatcher/v1/jobs'" in told) == (404, True)
    assert admin.refused("GET", "/dispatcher/v1/submit") == (405, "expecting POST, received GET")
    assert admin.refused("GET", "/api/v2/system/is_alive")[0] == 404


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
        "params": {"job_maxwalltime": True},
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


def test_why_a_job_waits_is_said_by_what_pilots_asked_for(person, pilot, clock):
    (job,) = person.submit(needs={"memory": "8 GB"})
    advice = lambda: person.get(f"/dispatcher/v1/jobs/{job}")["advice"]  # noqa: E731
    assert advice().startswith("no pilot of queue 'local' was heard of lately: start one")
    pilot.acquire(memory=2000)
    assert "it needs 8000 MB of memory, at most 2000 were offered" in advice()
    pilot.acquire(node="n2", memory=4000)
    assert "at most 4000 were offered" in advice()
    pilot.acquire(node="n3", memory=9000)
    assert advice() == ""


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


def test_a_command_is_asked_for_by_whom_may_and_if_a_pilot_can_be_asked_for_it(person, admin, pilot):
    (job,) = person.submit()
    pilot.acquire()
    asked = {"ids": [job], "command": "ls -l"}
    assert person.refused("POST", "/dispatcher/v1/debug", asked)[0] == 403
    assert admin.own("debug", asked)["done"] == [job]
    assert pilot.update(job)["data"]["command"] == "debug,ls -l"
    assert pilot.get("/api/v1/job/get_status", job_ids=job)["data"][0]["command"] == "debug,ls -l"
    assert person.get(f"/dispatcher/v1/jobs/{job}")["command"] == "ls -l"
    told = admin.refused("POST", "/dispatcher/v1/debug", {"ids": [job], "command": "rm -r ."})
    assert told == (400, "command: 'rm' is not one of tail, ls, ps, du, gdb")
    assert admin.own("debug", {"ids": [job], "on": False})["done"] == [job]
    assert pilot.update(job)["data"]["command"] == "debugoff"


@pytest.mark.parametrize(("value", "told"), [
    ({}, "ids: names no job to cancel"),
    ({"ids": ["1"]}, "ids[0]: wants a job's number"),
    ({"ids": [1, True]}, "ids[1]: wants a job's number"),
    ({"ids": [1], "idz": True}, "idz: no such key; did you mean 'ids'?"),
])  # fmt: skip
def test_steering_that_makes_no_sense(person, value, told):
    status, said = person.refused("POST", "/dispatcher/v1/cancel", value)
    assert (status, said.split("; there")[0]) == (400, told)


# --- stored files ---


LARGE = bytes(SMALL_B + 1)


def put(client: Client, scope: str, data: bytes = b"abc", name: str = "out.txt") -> int:
    digest = f"adler32={zlib.adler32(data):08x}"
    try:
        return client.ask("PUT", f"/storage/{scope}/{name}", data, digest=digest).status
    except Refused as refused:
        return refused.status


def leave(client: Client, scope: str) -> None:
    """Store a small file and a large one."""
    assert [put(client, scope), put(client, scope, LARGE, "large")] == [201, 201]


def test_where_a_folder_is_named_all_that_is_stored_lies_there(service, tokens, clock, person, tmp_path):
    (job,) = person.submit()
    named = {"LOCAL": ServedStorage(path=tmp_path / "storage")}
    pilot = Client(Service(service.store, service._storage, Config(QUEUES, named), tokens, clock), "run")
    pilot.acquire()
    assert put(pilot, f"{job}.1") == 201
    assert (tmp_path / "storage" / f"{job}.1" / "out.txt").read_bytes() == b"abc"


def test_only_the_holder_of_a_lease_stores(pilot, person, service, clock):
    (job,) = person.submit()
    assert put(pilot, f"{job}.1") == 409
    pilot.acquire()
    assert [put(pilot, scope) for scope in (f"{job}.2", "99.1", "inputs", "*")] == [409] * 4
    assert [put(pilot, f"{job}.1"), put(pilot, f"{job}.1"), put(pilot, f"{job}.1", b"xyz")] == [201, 200, 409]
    clock.advance(QUEUES["local"].lost_after_s)
    service.sweep()
    pilot.acquire()
    assert (put(pilot, f"{job}.1"), put(pilot, f"{job}.2", b"xyz")) == (409, 201)
    pilot.update(job, "finished", 2, job_output_report=REPORT)
    assert put(pilot, f"{job}.2", b"xyz") == 409
    assert person.ask("GET", f"/storage/{job}.2/out.txt").body == b"xyz"


def test_an_attempt_that_is_over_is_told_so_and_not_that_its_token_is_bad(pilot, person):
    (job,) = person.submit()
    status, told = pilot.refused("PUT", f"/storage/{job}.1/out.txt", {})
    assert (status, told) == (409, f"'{job}.1' is no attempt that holds its job now, so nothing is stored for it")
    assert person.refused("PUT", f"/storage/{job}.1/out.txt", {})[0] == 403
    pilot.acquire()
    pilot.update(job, "failed", 1, pilot_error_code=1379)
    told = pilot.refused("PUT", f"/storage/{job}.1/out.txt", {})[1]
    assert told.endswith("nothing is stored for it: attempt 2 is in its place")


def folders(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "storage").iterdir() if path.name[0].isdigit())


def scopes(service, tmp_path) -> list[str]:
    """Whose files there are, small and large ones."""
    with service.store.reading() as database:
        small = [scope_of(*row) for row in database.execute("SELECT DISTINCT job, attempt FROM contents")]
    assert sorted(small) == folders(tmp_path)
    return folders(tmp_path)


def lose(service, clock, job) -> None:
    clock.advance(QUEUES["local"].lost_after_s)
    assert service.sweep() == [job]


def test_what_an_attempt_stored_that_did_not_end_its_job_goes_once_the_job_is_over(
    pilot, person, service, clock, tmp_path
):
    (job,) = person.submit()
    for attempt in (1, 2):
        pilot.acquire()
        leave(pilot, f"{job}.{attempt}")
        lose(service, clock, job)
    pilot.acquire()
    leave(pilot, f"{job}.3")
    service.sweep()
    assert scopes(service, tmp_path) == [f"{job}.1", f"{job}.2", f"{job}.3"]
    pilot.update(job, "finished", 3, job_output_report=REPORT)
    service.sweep()
    assert scopes(service, tmp_path) == [f"{job}.3"]
    (tmp_path / f"storage/{job}.1").mkdir()
    service.sweep()
    assert folders(tmp_path) == [f"{job}.1", f"{job}.3"], "each is removed once"


def test_so_many_attempts_are_cleared_at_a_time(pilot, person, service, tmp_path, monkeypatch):
    monkeypatch.setattr("pilot_core.dispatcher.service.MOST_REMOVED", 2)
    for job in person.submit(count=3):
        pilot.acquire()
        leave(pilot, f"{job}.1")
        pilot.update(job, "failed", 1, pilot_error_code=1379)
        person.own("cancel", {"ids": [job]})
    left = []
    for _ in range(2):
        service.sweep()
        left.append(len(scopes(service, tmp_path)))
    assert left == [1, 0]


def test_a_failure_that_is_put_back_keeps_its_log_until_the_next_attempt_is_over(pilot, person, service, tmp_path):
    (job,) = person.submit()
    pilot.acquire()
    leave(pilot, f"{job}.1")
    pilot.update(job, "failed", 1, pilot_error_code=1305)
    service.sweep()
    person.own("retry", {"ids": [job]})
    service.sweep()
    assert scopes(service, tmp_path) == [f"{job}.1"]
    pilot.acquire()
    pilot.update(job, "finished", 2, job_output_report=REPORT)
    service.sweep()
    assert scopes(service, tmp_path) == []


@pytest.mark.parametrize("size_b", [3, SMALL_B + 1], ids=["small", "large"])
def test_what_came_while_its_attempt_lost_the_job_goes_too(pilot, person, service, tmp_path, size_b):
    (job,) = person.submit()
    pilot.acquire()

    class Coming(Body):
        def read(self, *size):
            if not self.tell():
                pilot.update(job, "failed", 1, pilot_error_code=1379)
                person.own("cancel", {"ids": [job]})
                service.sweep()
            return super().read(*size)

    headers = {"digest": f"adler32={zlib.adler32(bytes(size_b)):08x}"}
    put = Request("PUT", f"/storage/{job}.1/out.txt", {}, headers, Coming(bytes(size_b)), "run")
    assert service.answer(put).status == 201
    assert folders(tmp_path) == ([f"{job}.1"] if size_b > SMALL_B else [])
    service.sweep()
    assert (scopes(service, tmp_path), person.refused("GET", put.path)[0]) == ([], 404)


def test_old_jobs_go_with_what_they_stored_and_with_inputs_that_nobody_names(pilot, person, service, clock, tmp_path):
    data = b"in"
    path = f"/storage/inputs/{hashlib.sha256(data).hexdigest()}/in.txt"
    digest = {"digest": f"adler32={zlib.adler32(data):08x}"}
    person.ask("PUT", path, data, **digest)
    given = {"inputs": [{"name": "in.txt", "source": path}]}
    old, young = *person.submit(**given), *person.submit(**given)
    for job in (old, young):
        pilot.acquire()
        leave(pilot, f"{job}.1")
        pilot.update(job, "finished", job_output_report=REPORT)
        clock.advance(20 * 86400)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "storage" / f"{old}.1" / "link").symlink_to(outside)
    (tmp_path / "storage/inputs" / path.split("/")[3] / "in.txt").touch()
    service.sweep()
    assert scopes(service, tmp_path) == [f"{young}.1"]
    assert (outside / "kept").exists()
    assert person.refused("GET", f"/dispatcher/v1/jobs/{old}") == (
        404,
        f"job {old} is here no more: jobs that are over are kept for 30 days ('keep' in its configuration)",
    )
    (file,) = (tmp_path / "storage/inputs").rglob("in.txt")
    os.utime(file, (0, 0))
    clock.advance(3600)
    service.sweep()
    assert file.exists(), "a job names it"
    clock.advance(20 * 86400)
    with person.ask("HEAD", path).file:
        assert file.stat().st_mtime > 0, "whoever looks at it means to use it"
    os.utime(file, (clock.now(), clock.now()))
    service.sweep()
    assert (scopes(service, tmp_path), file.exists()) == ([], True)
    os.utime(file, (0, 0))
    clock.advance(3600)
    service.sweep()
    assert not file.exists()


def test_inputs_come_from_people_and_go_to_pilots(pilot, person):
    place = f"/storage/inputs/{hashlib.sha256(b'abc').hexdigest()}/in.txt"
    assert person.ask("PUT", place, b"abc").status == 201
    fetched = pilot.ask("GET", place, range="bytes=1-")
    assert (fetched.status, fetched.length) == (206, 2)
    assert fetched.file
    fetched.file.close()

"""A pilot that is told of work by a message broker, a real one, and what it makes of what that tells."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import pytest
from coilmq.auth.simple import SimpleAuthenticator
from coilmq.queue import QueueManager
from coilmq.scheduler import FavorReliableSubscriberScheduler, RandomQueueScheduler
from coilmq.server.socket_server import ThreadedStompServer
from coilmq.store.memory import MemoryQueue
from coilmq.topic import TopicManager
from stomp.connect import StompConnection12

from pilot_core.dispatcher.tls import own_certificate, server_context
from pilot_core.testing.fakes import Payload

from .ids import scenario
from .stage import ACQUIRE, JOB, UPDATE, ends, runs

TOPIC = "/topic/panda.pilot"
SECRETS = "/api/v1/creds/get_user_secrets"
MADE = {"out.txt": b"made\n"}
LONG_S = 30.0


class Broker(ThreadedStompServer):
    """A broker on a loopback socket, which lets in who knows the word."""

    daemon_threads = True

    def __init__(self, tls=None):
        known = SimpleAuthenticator({"pilot": "friend"})
        queues = QueueManager(MemoryQueue(), FavorReliableSubscriberScheduler(), RandomQueueScheduler())
        self.subscribed = threading.Event()
        topics = TopicManager()
        subscribe = topics.subscribe
        topics.subscribe = lambda *args, **more: (subscribe(*args, **more), self.subscribed.set())
        super().__init__(("127.0.0.1", 0), queue_manager=queues, topic_manager=topics, authenticator=known)
        self.tls = tls
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def place(self):
        return f"localhost:{self.server_address[1]}"

    def tell(self, *messages):
        """Publish these, whatever they are."""
        assert self.subscribed.wait(LONG_S)
        line = StompConnection12([("localhost", self.server_address[1])], vhost="localhost")
        line.connect("pilot", "friend", wait=True)
        for each in messages:
            line.send(TOPIC, each if isinstance(each, str) else json.dumps(each))
        line.disconnect(receipt="all")


@contextmanager
def running(broker):
    thread = threading.Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield broker
    finally:
        broker.shutdown()
        thread.join()
        broker.server_close()


@pytest.fixture
def broker(stage):
    stage.say(SECRETS, secrets(MB_USERNAME="pilot", MB_PASSWORD="friend"), times=99)
    with running(Broker()) as broker:
        yield broker


def secrets(**kept):
    return {"success": True, "message": "", "data": json.dumps(kept)}


def hearing(broker, **more):
    usual = {"panda.broker": [broker.place], "panda.broker_tls": False, "panda.broker_spread_s": 0}
    return {**usual, "pilot.empty_answers": 1, **more}


def told_of(kind, task, **more):
    return {"msg_type": kind, "taskid": task, "timestamp": 1, **more}


def when_asked(stage, times, do):
    """Do it in another thread once so many requests for work were answered with nothing."""
    asked = threading.Semaphore(0)

    def count(answer):
        asked.release()
        return answer

    stage.change(ACQUIRE["v1"], count, times=times)

    def wait():
        for _ in range(times):
            assert asked.acquire(timeout=LONG_S)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@scenario("J-18")
def test_a_pilot_rests_until_it_is_told_of_work(stage, pilot, broker):
    """One request when the broker is heard, one for the task, however often that is told; and what is none is none."""

    def tell():
        broker.tell("nonsense", "[1]", {"msg_type": "get_job"}, told_of("finish_task", 9), told_of("dance", 9))
        stage.submit(JOB)
        broker.tell(told_of("get_job", 4711))

    stage.hold(ACQUIRE["v1"], broker.subscribed, LONG_S)
    teller = when_asked(stage, 1, tell)
    run = pilot(**hearing(broker, **{"panda.pause_s": 3600, "pilot.ask_again_s": 3600}))
    teller.join()
    asked = [each.body for each in stage.said(ACQUIRE["v1"])]
    assert run.ending.finished == 1, run.story()
    assert (asked[-1]["task_id"], asked[-1]["via_topic"]) == (4711, True)
    assert sum(body.get("task_id") == 4711 for body in asked) == 1
    assert len(asked) <= 3


@scenario("J-18")
def test_of_several_tasks_that_are_told_at_once_each_is_asked_for_once(stage, pilot, broker):
    tasks, asked = [4, 5, 6], threading.Event()

    def tell():
        broker.tell(*(told_of("get_job", task) for task in tasks))
        asked.wait(LONG_S)
        stage.submit(JOB)
        broker.tell(told_of("get_job", 7))

    stage.hold(ACQUIRE["v1"], broker.subscribed, LONG_S)
    stage.change(ACQUIRE["v1"], lambda answer: asked.set() or answer, when=lambda heard: heard.body.get("task_id") == 6)
    teller = when_asked(stage, 1, tell)
    run = pilot(**hearing(broker, **{"panda.broker_spread_s": 0.05, "panda.pause_s": 3600}))
    teller.join()
    assert run.ending.finished == 1, run.story()
    told = [each.body["task_id"] for each in stage.said(ACQUIRE["v1"]) if "task_id" in each.body]
    assert [task for task in told if task in tasks] == tasks


@scenario("J-19")
@pytest.mark.parametrize("kind", ["kill_task", "finish_task"])
def test_that_a_task_is_over_is_a_reason_to_ask_the_server_and_no_more(stage, pilot, broker, kind):
    """One job goes on as long as the server wants it, and that of another task whatever is told."""
    stage.submit(JOB, 2)
    tasks, beats, killed = iter((4711, 9)), threading.Semaphore(0), threading.Event()
    stage.change(ACQUIRE["v1"], lambda answer: of_task(answer, next(tasks)), times=2)
    of_first = lambda heard: runs(heard) and heard.body["job_id"] == 1  # noqa: E731
    stage.change(UPDATE["v1"], lambda answer: beats.release() or answer, times=9, when=of_first)
    stage.change(UPDATE["v1"], lambda answer: killed.set() or answer, when=lambda heard: heard.state == "failed")

    def does(here, env):
        if env["PanDA_TaskID"] == "9":
            began = beats.acquire(timeout=LONG_S)
            broker.tell("nonsense", "[]", told_of(kind, None), told_of(kind, 4711))
            asked = beats.acquire(timeout=LONG_S)
            stage.web().call("POST", "/dispatcher/v1/cancel", json={"ids": [1]})
            broker.tell(told_of(kind, 4711))
            assert killed.wait(LONG_S)
            assert began
            assert asked

    payloads = (Payload(hangs=True), Payload(does=does, files=MADE))
    run = pilot(jobs=2, payload=payloads, **hearing(broker, **{"report.heartbeat_s": 2 * LONG_S}))
    ended = {each.body["job_id"]: each.body for each in stage.said(UPDATE["v1"]) if ends(each)}
    assert [(each["job_status"], each["pilot_error_code"]) for each in (ended[1], ended[2])] == [
        ("failed", 1144),
        ("finished", 0),
    ], run.story()
    assert "the server says: tobekilled" in ended[1]["pilot_error_diag"]


def of_task(answer, task):
    for job in (answer["data"] or {}).get("jobs", ()):
        job["taskID"] = task
    return answer


@pytest.mark.parametrize("why", ["gone", "stranger", "plain"])
def test_a_broker_that_is_not_heard_leaves_a_pilot_that_asks(stage, pilot, why):
    stage.submit(JOB)
    stage.say(SECRETS, secrets() if why == "stranger" else secrets(MB_USERNAME="pilot", MB_PASSWORD="friend"), times=9)
    with running(Broker()) as broker:
        place = "localhost:1" if why == "gone" else broker.place
        run = pilot(jobs=9, **hearing(broker, **{"panda.broker": [place], "panda.broker_tls": why == "plain"}))
    assert (run.ending.finished, run.ending.exit_code) == (1, 0), run.story()
    assert "a message broker tells of work" not in run.log


@pytest.mark.parametrize("trusted", [True, False])
def test_a_broker_is_heard_over_tls_if_somebody_vouches_for_it(stage, pilot, tmp_path, trusted):
    certificate, key = own_certificate(tmp_path, ("localhost",))
    stage.say(SECRETS, secrets(MB_USERNAME="pilot", MB_PASSWORD="friend"), times=9)
    stage.submit(JOB)
    with running(Broker(server_context(certificate, key))) as broker:
        known = {"connection.ca_file": str(certificate)} if trusted else {}
        settings = {"panda.broker": [broker.place], "panda.broker_idle_s": 1, **known}
        stage.hold(ACQUIRE["v1"], broker.subscribed, 10 if trusted else 0)
        run = pilot(**settings)
        assert broker.subscribed.is_set() is trusted, run.story()
    assert run.ending.finished == 1, run.story()

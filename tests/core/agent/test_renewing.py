"""What opens the server is renewed while jobs run, and the secrets of a job are masked before anything is told."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode

from pilot_core.errors import Code, PilotError
from pilot_core.testing import PilotKit


def described(script):
    return {"described": {"id": "1", "script": script}, "file": {"path": "job.yaml", "origin": ""}}


def test_credentials_are_renewed_from_the_start_on_and_a_failure_holds_up_nothing(tmp_path):
    kit = PilotKit(process="real", tmp=tmp_path)
    answers = [0.05, 0.05, PilotError(Code.COMMUNICATIONFAILURE, "nobody answers"), 0.05]
    renewed = []

    class Communicator(kit.communicator):
        def renew(self, queue):
            renewed.append(queue.name)
            answer = answers.pop(0)
            if isinstance(answer, PilotError):
                raise answer
            return answer

    kit.communicator = Communicator
    done = kit.run(described("sleep 1"))
    assert done.trail[-1] == "finished"
    assert len(renewed) == 3
    assert "what opens the server was not renewed" in done.log


def test_the_secrets_of_a_job_are_masked_and_its_payload_may_have_them(tmp_path):
    kit = PilotKit(process="real", tmp=tmp_path)

    class Communicator(kit.communicator):
        def secrets(self, raw):
            return ["a-word-of-the-owner", "abc"]

    kit.communicator = Communicator
    done = kit.run(described("echo it is a-word-of-the-owner; exit 3"))
    assert done.jobs["1"].error.code.number != 1110
    told = str(done.jobs["1"].reports) + done.log
    assert "it is ***" in told
    assert "a-word-of-the-owner" not in told


def test_a_node_with_an_expired_token_takes_no_work(tmp_path):
    claims = f'{{"exp": {time.time() - 7200}}}'.encode()
    (token := tmp_path / "token").touch(0o600)
    token.write_text(f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln")
    settings = {"connection.url": ["https://localhost:1"], "connection.token": str(token)}
    done = PilotKit(tmp=tmp_path / "w", settings=settings).run(described("true"))
    assert done.jobs["1"].reports == ()
    assert f"token {token} has expired, 2:00 h ago" in done.log

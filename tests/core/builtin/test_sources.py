from __future__ import annotations

import json

import pytest

from pilot_core.builtin.sources import QueueFile
from pilot_core.sdk import PilotError

TWO = "SITE_A: {maxrss: 2000}\nSITE_B: {corecount: 8}\n"


@pytest.fixture
def source(make, tmp_path):
    def write(text, name="queues.yaml"):
        (tmp_path / name).write_text(text)
        return make(QueueFile, queue_file={"path": str(tmp_path / name)})

    return write


def test_without_a_file_nothing_is_known(make):
    assert make(QueueFile).queue("SITE_A") is None


def test_a_queue_is_found_by_its_name(source):
    assert source(TWO).queue("SITE_B") == {"corecount": 8}
    assert source(json.dumps({"SITE_A": {"maxrss": 1}}), "queues.json").queue("SITE_A") == {"maxrss": 1}


@pytest.mark.parametrize("text", ["name: SITE_A\nmaxrss: 2", "nickname: SITE_A\nparams: {}", "maxrss: 2", "params: {}"])
def test_a_file_may_hold_one_queue(source, text):
    assert source(text).queue("SITE_A")


@pytest.mark.parametrize(
    ("text", "number", "told"),
    [
        (TWO, 1116, "has no queue 'SITE_C'; did you mean 'SITE_"),
        ("OTHER: {}", 1116, "has no queue 'SITE_C'; it has OTHER"),
        ("name: SITE_A\nmaxrss: 1", 1116, "did you mean 'SITE_A'?"),
        ("SITE_C: [", 1117, "line 2, column 1: wants to be YAML"),
        ("[]", 1117, "wants a mapping from names of queues"),
    ],
)
def test_what_cannot_be_told_is_an_error(source, text, number, told):
    with pytest.raises(PilotError) as raised:
        source(text).queue("SITE_C")
    assert raised.value.code.number == number
    assert told in str(raised.value)


def test_a_file_that_is_not_there(make, tmp_path):
    with pytest.raises(PilotError, match=r"none\.yaml: No such file") as raised:
        make(QueueFile, queue_file={"path": str(tmp_path / "none.yaml")}).queue("q")
    assert raised.value.code.exit_code == 71

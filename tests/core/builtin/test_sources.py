from __future__ import annotations

import json

import pytest

from pilot_core.builtin.kept import Cvmfs, Local, LocalOptions
from pilot_core.builtin.sources import QueueFile
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
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
        ("[]", 1117, "wants a mapping from names to"),
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


def test_storages_come_from_a_file_of_their_own(make, tmp_path):
    (tmp_path / "queues.yaml").write_text(TWO)
    (tmp_path / "storages.yaml").write_text("DISK: {type: DATADISK}\nTAPE: 3\n")
    paths = {"path": str(tmp_path / "queues.yaml"), "storages": str(tmp_path / "storages.yaml")}
    source = make(QueueFile, queue_file=paths)
    assert source.storage("DISK") == {"type": "DATADISK"}
    assert source.storage("NONE") is None
    assert source.queue("SITE_B")
    assert (source.whence("SITE_B"), source.whence("DISK")) == ((paths["path"], None), (paths["storages"], None))
    with pytest.raises(PilotError, match="TAPE: wants a mapping of facts"):
        source.storage("TAPE")
    assert make(QueueFile).storage("DISK") is None


# --- documents of others --------------------------------------------------------------------------------------------

ONE = {"nickname": "SITE_A", "state": "ACTIVE", "maxrss": 1}


@pytest.fixture
def folder(tmp_path):
    def write(**documents):
        for name, content in documents.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_documents_lie_in_a_directory_under_their_usual_names(make, folder, tmp_path):
    source = make(Local, queue_local={"folder": str(tmp_path)})
    assert source.queue("SITE_A") is None
    assert source.storage("DISK") is None
    folder(cric_pandaqueues={"SITE_A": {"maxrss": 2}, "SITE_B": {}}, cric_ddmendpoints={"DISK": {"id": 1}})
    assert source.queue("SITE_A") == {"maxrss": 2}
    assert source.storage("DISK") == {"id": 1}
    folder(queuedata=ONE)
    assert source.queue("SITE_A") == ONE
    with pytest.raises(PilotError, match="has no queue 'SITE_B'; it tells of 'SITE_A'"):
        source.queue("SITE_B")


def test_documents_are_found_where_the_environment_says(folder, tmp_path):
    many = folder(many={"SITE_A": {"maxrss": 3}}) / "many.json"
    schema = Schema((*CORE, LocalOptions))
    told = {"PILOT_HOME": str(tmp_path / "home"), "LOCAL_AGIS_SCHEDCONF": str(many)}
    source = Local(schema.merge(schema.environment(told)))
    assert source.queue("SITE_A") == {"maxrss": 3}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "queuedata.json").write_text(json.dumps(ONE))
    assert source.queue("SITE_A") == ONE


@pytest.mark.parametrize(("text", "told"), [('{"nickname": "SI', "no JSON"), ("[1]", "wants a mapping of facts")])
def test_a_document_that_was_laid_there_torn_is_not_hoped_for_to_mend(make, tmp_path, text, told):
    (tmp_path / "queuedata.json").write_text(text)
    with pytest.raises(PilotError, match=rf"queuedata\.json: {told}") as raised:
        make(Local, queue_local={"folder": str(tmp_path)}).queue("SITE_A")
    assert (raised.value.code.number, raised.value.code.exit_code) == (1117, 72)
    spread = make(Cvmfs, queue_cvmfs={"root": str(tmp_path), "queues": "queuedata.json"})
    with pytest.raises(PilotError, match=told) as raised:
        spread.queue("SITE_A")
    assert raised.value.code.number == 1318, "what is spread over many nodes will be whole again"


def test_cvmfs_is_read_below_its_root(make, folder):
    root = folder(queues={"SITE_A": ONE}, storages={"DISK": {"id": 1}})
    source = make(Cvmfs, queue_cvmfs={"root": str(root), "queues": "queues.json", "storages": "storages.json"})
    assert source.queue("SITE_A") == ONE
    assert source.storage("DISK") == {"id": 1}
    assert source.whence("SITE_A")[0] == f"{root}/queues.json"
    assert make(Cvmfs).queue("SITE_A") is None


def test_a_copy_serves_when_cvmfs_is_away(make, folder, monkeypatch, caplog):
    root = folder(queues={"SITE_A": ONE})
    chosen = {
        "connection": {"cache_dir": str(root / "kept")},
        "queue_cvmfs": {"root": str(root), "queues": "queues.json"},
    }
    make(Cvmfs, **chosen).queue("SITE_A")
    (root / "queues.json").unlink()
    monkeypatch.setattr(Cvmfs, "fresh_s", 0.0)
    assert make(Cvmfs, **chosen).queue("SITE_A") == ONE
    assert "queues.json: No such file or directory; what it told 0 min ago is used" in caplog.text
    chosen["connection"] = {}
    with pytest.raises(PilotError, match=r"queues\.json: No such file") as raised:
        make(Cvmfs, **chosen).queue("SITE_A")
    assert raised.value.code.number == 1318

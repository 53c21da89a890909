"""What a dispatcher serves, from a file or without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot_core.config.layers import ConfigError
from pilot_core.dispatcher.config import Config, ServedQueue, ServedStorage, read_config


@pytest.fixture
def read(tmp_path):
    def reading(text: str) -> Config:
        path = tmp_path / "server.yaml"
        path.write_text(text)
        return read_config(path)

    return reading


def problems(read, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return [f"{each.path}: {each.text}" for each in refused.value.problems]


def test_jobs_that_are_over_are_kept_for_a_while(tmp_path):
    path = tmp_path / "server.yaml"
    path.write_text("keep: 2 d")
    assert read_config(path).keep_s == 2 * 86400
    assert Config().keep_s == 30 * 86400
    path.write_text("keep: 0 s")
    with pytest.raises(ConfigError, match="keep: is 0 s; write 1 s or more"):
        read_config(path)


def test_without_a_file_there_is_one_queue_and_one_storage():
    config = Config()
    assert config.queues == {"local": ServedQueue(name="local", storage="LOCAL")}
    assert config.own == ServedStorage(name="LOCAL")


@pytest.mark.parametrize(("written", "dialects"), [
    ("", ("v1", "legacy")),
    ("dialects: [v1]", ("v1",)),
    ("dialects: [legacy, v1]", ("legacy", "v1")),
])  # fmt: skip
def test_the_generations_that_are_spoken(read, written, dialects):
    assert read(written).dialects == dialects


@pytest.mark.parametrize(("written", "told"), [
    ("dialects: []", "dialects: names none, so no pilot could be answered; write v1, legacy"),
    ("dialects: [v1, legcy]", "dialects: 'legcy' is not one of v1, legacy; did you mean 'legacy'?"),
    ("dialects: v1", "dialects: wants a list of texts, not 'v1'"),
])  # fmt: skip
def test_generations_that_nobody_speaks(read, written, told):
    assert problems(read, written) == [told]


def test_an_empty_file_says_the_same(read):
    assert read("") == Config()


def test_a_whole_file(read):
    config = read("""
        queues:
          big: {cores: 8, memory: 16 GB, disk: 100 GB, wall: 2 d, heartbeat: 10 s, lost_after: 1 min, retries: 0,
                status: test, storage: FAR}
          small:
        storages:
          HERE: {path: /data/here}
          FAR: {url: "https://store.example.org/data/"}
    """)
    assert config.queues["big"] == ServedQueue(
        name="big",
        cores=8,
        memory_b=16 * 10**9,
        disk_b=10**11,
        wall_s=172800.0,
        heartbeat_s=10.0,
        lost_after_s=60.0,
        retries=0,
        status="test",
        storage="FAR",
    )
    assert config.queues["small"] == ServedQueue(name="small", storage="HERE")
    assert config.own == ServedStorage(name="HERE", path=Path("/data/here"))


def test_a_dispatcher_keeps_files_itself_whatever_else_there_is(read):
    config = read("storages: {FAR: {url: 'https://store.example.org/'}}")
    assert config.own == ServedStorage(name="LOCAL")
    assert config.queues["local"].storage == "LOCAL"


def test_everything_wrong_is_told_at_once_with_its_place(read):
    told = problems(
        read,
        """
        queues:
          q: {coers: 8, memory: lots, status: onlien, storage: NOWHERE}
        storage: {}
        """,
    )
    assert told == [
        "queues.q.memory: wants a number of bytes, or a text such as '2 GB', not 'lots'",
        "queues.q.status: 'onlien' is not one of online, test, brokeroff, offline; did you mean 'online'?",
        "queues.q.storage: 'NOWHERE' is not one of LOCAL",
        "queues.q.coers: no such key; did you mean 'cores'?",
        "storage: no such key; did you mean 'storages'?",
    ]


def test_the_file_is_named(read, tmp_path):
    with pytest.raises(ConfigError, match=f"^{tmp_path}/server.yaml: queue: no such key; did you mean 'queues'"):
        read("queue: {}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("storages: {A: {path: /a}, B: {path: /b}}", "storages.B: keeps files here as 'A' does"),
        ("storages: {A: {path: /a, url: 'https://h/'}}", "storages.A.url: stands beside 'path'"),
        ("storages: {A: {url: nowhere}}", "storages.A.url: wants an address such as"),
        ("storages: {A: {path: here}}", "storages.A.path: wants a path from the root"),
        ("queues: {q: {heartbeat: 60, lost_after: 100}}", "queues.q.lost_after: is 100 s"),
        ("queues: {q: {heartbeat: 0}}", "queues.q.heartbeat: is 0 s; write 1 s or more"),
        ("queues: [q]", "queues: wants a mapping of names to values, not a list"),
    ],
)
def test_what_makes_no_sense_is_refused(read, text, told):
    assert problems(read, text)[0].startswith(told)


def test_what_is_no_yaml_is_refused_with_its_place(read):
    with pytest.raises(ConfigError, match="line 1, column"):
        read("queues: [")

"""A pilot that was told of its dispatcher by a join file, whose token or address changes while a job runs."""

from __future__ import annotations

import time

import pytest

from .cluster import LIMIT_S, Cluster, free_port

WAITS = "echo yes > {root}/runs; until test -e {root}/go; do sleep 0.05; done"


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def begun(cluster, *settings: str):
    """A pilot whose job runs until it is told to go on."""
    cluster.configure()
    cluster.serve()
    cluster.submit(WAITS.format(root=cluster.root))
    pilot = cluster.join("work", "pilot.max_jobs=1", *settings)
    cluster.await_file("runs")
    return pilot


def test_a_token_that_is_replaced_is_read_from_the_join_file_again(cluster):
    pilot = begun(cluster)
    assert cluster.command("token", "rotate", "run").returncode == 0
    (cluster.root / "go").touch()
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert cluster.states()["finished"] == 1
    assert f"the one that is in {cluster.home / 'join'} by now is used instead" in said


def test_another_address_is_told_and_the_result_waits_for_it(cluster):
    pilot = begun(cluster)
    cluster.stop()
    cluster.port = free_port()
    cluster.serve()
    (cluster.root / "go").touch()
    join, told = cluster.home / "join", f"now names the server {cluster.url}, of which this pilot was not told"
    end = time.monotonic() + LIMIT_S
    while not any(told in line for line in cluster.said[pilot.pid].read_text().splitlines() if "final update" in line):
        assert time.monotonic() < end, cluster.said[pilot.pid].read_text()
        time.sleep(0.1)
    pilot.terminate()
    cluster.end(pilot)
    code, said = cluster.end(cluster._pilot("again", ["recover", "--join", str(join), str(cluster.root / "work")]))
    assert code == 0, said
    assert cluster.states()["finished"] == 1, said

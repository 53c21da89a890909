"""A dispatcher that is killed again and again while pilots work for it."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from .cluster import OVER, Cluster, alive

SETTINGS = ("pilot.failed_answers=1000", "pilot.empty_answers=1000", "pilot.ask_again_s=0.1", "data.attempts=5")


def storm(root: Path, *, jobs: int, kills: int, pilots: int = 2, limit_s: float, seed: int) -> Cluster:
    """Kill it at random moments of the work, so often; then see that each job ended, and ended once."""
    chance, cluster = random.Random(seed), Cluster(root)
    try:
        cluster.configure(lost_after=30)
        cluster.serve()
        cluster.submit(f"echo $PANDAID >> {root}/ran; echo made > out.txt", jobs, outputs=["out.txt"], log="log.tgz")
        crew = [cluster.start(f"work{number}", *SETTINGS) for number in range(pilots)]
        for kill in range(kills):
            _await_over(cluster, jobs * kill // (kills + 1), limit_s)
            time.sleep(chance.uniform(0, 0.2))  # a moment that nobody can know
            cluster.kill()
            cluster.serve()
        _await_over(cluster, jobs, limit_s)
        for pilot in crew:
            pilot.terminate()
        said = [cluster.end(pilot)[1] for pilot in crew]
        _judge(cluster, jobs, "\n".join(said))
    finally:
        cluster.close()
    return cluster


def _await_over(cluster: Cluster, wanted: int, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while sum((states := cluster.states()).get(state, 0) for state in OVER) < wanted:
        assert time.monotonic() < end, states
        assert not [each for each in cluster.said if not alive(each)], "a pilot died"
        time.sleep(0.05)


def _judge(cluster: Cluster, wanted: int, said: str) -> None:
    cluster.kill()
    cluster.serve()
    jobs = cluster.jobs()
    assert [job["id"] for job in jobs] == [*range(1, wanted + 1)], "nothing is lost, nothing is invented"
    assert Counter(job["state"] for job in jobs) == {"finished": wanted}, said
    ran = Counter((cluster.root / "ran").read_text().split())
    for job in jobs:
        assert ran[str(job["id"])] <= job["attempt"], f"job {job['id']} ran more often than it was given away"
    for job in jobs:
        assert cluster.stored("out.txt", f"{job['id']}.{job['attempt']}") == b"made\n", job

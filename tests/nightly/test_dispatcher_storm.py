"""``kill -9`` of the dispatcher at 50 random moments of a run of 500 jobs: all end, each once."""

from __future__ import annotations

import pytest
from tests.end_to_end.storm import storm


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1])
def test_five_hundred_jobs_and_fifty_kills(tmp_path, seed):
    storm(tmp_path, jobs=500, kills=50, pilots=4, limit_s=1800, seed=seed)

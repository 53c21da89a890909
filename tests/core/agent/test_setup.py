"""What a pilot is made of, by what its settings say."""

from __future__ import annotations

import pytest

from pilot_core.testing import PilotKit


@pytest.mark.parametrize("named", ["old", "none"])
def test_a_runtime_may_stand_for_one_that_others_name(tmp_path, named):
    settings = {"payload.container": named, "container.instead": {"old": "none", "other": "older"}}
    assert PilotKit(settings=settings).set_up(tmp_path).container.driver.name == "none"

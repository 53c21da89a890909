from __future__ import annotations

import pytest

from pilot_core.builtin.generic.profile import read_profile


@pytest.fixture
def profile(tmp_path):
    """Reads a profile as it is written."""

    def read(text):
        path = tmp_path / "profile.yaml"
        path.write_text(text)
        return read_profile(path)

    return read

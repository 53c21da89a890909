"""A small CVMFS, web servers, and settings that know both."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from pilot_atlas.options import AtlasOptions
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE

from .world import make_cvmfs, web_server


@pytest.fixture
def cvmfs(tmp_path: Path) -> Path:
    return make_cvmfs(tmp_path / "cvmfs")


@pytest.fixture
def make_settings(cvmfs: Path):
    """``make_settings(atlas={"name": value})``: settings with this CVMFS."""

    def make(**given: Mapping[str, object]):
        values = {**given, "atlas": {"cvmfs": str(cvmfs), "transform_pause_s": 0, **given.get("atlas", {})}}
        return Schema((*CORE, AtlasOptions)).merge(Layer(Rank.SITE, "test", values))

    return make


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def new_web():
    with ExitStack() as running:
        yield lambda: running.enter_context(web_server())


@pytest.fixture
def web(new_web):
    return new_web()

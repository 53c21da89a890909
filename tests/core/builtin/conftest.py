"""Drivers made as a pilot makes them: with settings that were merged and checked."""

from __future__ import annotations

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE


@pytest.fixture
def make():
    """``make(Driver, section={"name": value})``."""

    def build(driver, **values):
        sections = (*CORE, driver.options) if driver.options else CORE
        settings = Schema(sections).merge(Layer(Rank.SITE, "test", values))
        assert not settings.warnings
        return driver(settings)

    return build

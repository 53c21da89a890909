"""What queue data say to one container runtime, said to any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE, ContainerOptions
from pilot_core.infosys.container_options import container_options


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("-c -i -B /cvmfs,/scratch:/data:ro", {"mounts": ("/cvmfs:rw", "/scratch:/data:ro")}),
        ("--bind=/a -B/b --nv", {"mounts": ("/a:rw", "/b:rw"), "gpus": "nvidia"}),
        ("-C --rocm --net --network none", {"gpus": "amd", "network": "none"}),
        ("--containall --cleanenv", {}),
    ],
)
def test_what_is_understood(text, values, caplog):
    assert container_options(text, "queue Q") == values
    assert not caplog.text


def test_all_that_is_not_understood_is_named(caplog):
    assert container_options("--pwd /srv --fakeroot -H /x:/y -B /a", "queue Q") == {"mounts": ("/a:rw",)}
    assert [line.split("container_options: ")[1] for line in caplog.messages] == [
        f"{what} has no meaning here and is left out" for what in ("--pwd /srv", "--fakeroot", "-H /x:/y")
    ]
    assert container_options("-B '/a", "queue Q") == {}
    assert "No closing quotation" in caplog.text


@given(st.text(max_size=40))
def test_whatever_stands_there_gives_options_that_can_be_merged(text):
    values = container_options(text, "queue Q")
    Schema(CORE).merge(Layer(Rank.QUEUE, "queue Q", {"container": values})).of(ContainerOptions)

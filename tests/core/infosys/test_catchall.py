"""The remarks of a queue: flags and values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.infosys.catchall import Catchall, warn_of_misspelt
from pilot_core.infosys.facts import Told
from pilot_core.infosys.queue import queue_of
from pilot_core.model.queue import Queue


@pytest.mark.parametrize(
    ("text", "flags", "values"),
    [
        ("", (), {}),
        ("nopenfiles=4 allow_wan_for_lib", {"allow_wan_for_lib"}, {"nopenfiles": "4"}),
        ("HPC_HPC,pilotXcache", {"hpc_hpc", "pilotxcache"}, {}),
        ("HPC_HPC, nopenfiles=4,", {"hpc_hpc"}, {"nopenfiles": "4"}),
        ("a=1,b=2,c d", {"d"}, {"a": "1", "b": "2,c"}),
        ("IMAGE_BASE=/a,/b", (), {"image_base": "/a,/b"}),
        ("x_options='-B /a,/b --c=d' y", {"y"}, {"x_options": "-B /a,/b --c=d"}),
        ('x_options="-B /a, b=c" y', {"y"}, {"x_options": "-B /a, b=c"}),
        ("logging=t;p://host:80,loggingfile=log", (), {"logging": "t;p://host:80", "loggingfile": "log"}),
        ("a=it's a=2", (), {"a": "it's"}),
    ],
)  # fmt: skip
def test_items(text, flags, values):
    read = Catchall.read(text)
    assert read == Catchall(frozenset(flags), values)


def test_names_are_the_same_in_any_case_and_never_a_part_of_another():
    read = Catchall.of(
        Queue(name="q", params={"catchall": "pilotXcache REMOTEIO_TEST=false Open=YES no_token_renewal"})
    )
    assert read.flag("pilotxcache")
    assert read.flag("open")
    assert not read.flag("remoteio_test", default=True)
    assert not read.flag("token_renewal")
    assert read.flag("token_renewal", default=True)
    assert (read.value("remoteIO_test"), read.value("none", "7")) == ("false", "7")


@settings(max_examples=200)
@given(st.text(alphabet="ab=, '\"\n", max_size=40))
def test_any_text_is_read(text):
    read = Catchall.read(text)
    assert all(name and "," not in name for name in read.flags)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("allow_wan_for_libs", ["q: catchall: 'allow_wan_for_libs' means nothing; did you mean 'allow_wan_for_lib'?"]),
        ("nopenfile=4", ["q: catchall: 'nopenfile' means nothing; did you mean 'nopenfiles'?"]),
        ("No_Token_Renewal,HPC_HPC IMAGE_BASE=/a nopenfiles=3", []),
        ("hc_test us_site logfile=x", []),
        ("", []),
    ],
)
def test_a_misspelt_word_is_named_with_what_was_meant(text, said, caplog):
    warn_of_misspelt(text, "q")
    assert [record.getMessage() for record in caplog.records] == said


def test_whoever_reads_a_queue_hears_of_it(caplog):
    queue_of("q", Told({"catchall": "remoteio_tests=false"}, {}, []))
    assert "did you mean 'remoteio_test'?" in caplog.text

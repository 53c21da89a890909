"""What batch systems write is read, and what is not theirs breaks nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_hpc.reading import among, attributes, clock_s, hosts, resource_set, size_b, tasks_of_nodes, whole

NAMES = st.from_regex(r"[a-z]{1,4}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", "n1"),
        ("n[1-3,07],m2", "n1 n2 n3 n07 m2"),
        ("nid[000099-000101]", "nid000099 nid000100 nid000101"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("a-b[1]-x,c", "a-b1-x c"),
        ("", ""),
        ("n[0-9999999999]", ""),
    ],
)
def test_a_list_of_hosts(text, names):
    assert hosts(text) == tuple(names.split())


@given(NAMES, st.lists(st.integers(0, 9999), min_size=1, max_size=20, unique=True), st.integers(1, 6))
def test_a_list_of_hosts_gives_back_what_was_written(name, numbers, wide):
    written = ",".join(f"{number:0{wide}d}" for number in numbers)
    assert hosts(f"{name}[{written}]") == tuple(f"{name}{number:0{wide}d}" for number in numbers)


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("4:59", 299),
        ("01:00:00", 3600),
        ("2-03:04:05", 183845),
        ("96:00:00", 345600),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_a_time(text, time_s):
    assert clock_s(text) == time_s


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_time_with_days_is_the_sum_of_its_parts(days, hours, minutes, seconds):
    assert (
        clock_s(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4gb", 4 << 30),
        ("2 G", 2 << 30),
        ("1000M", 1000 << 20),
        ("2097152kb", 2 << 30),
        ("512 Mbytes", 512 << 20),
        ("100b", 100),
        ("2mw", 16 << 20),
        ("0", None),
        ("-", None),
        ("much", None),
    ],
)
def test_a_size(text, size):
    assert size_b(text) == size


def test_tasks_of_nodes():
    assert tasks_of_nodes("2(x3),1") == (2, 2, 2, 1)
    assert tasks_of_nodes("80") == (80,)
    assert tasks_of_nodes("1(x99999999999)") == tasks_of_nodes("") == ()


def test_attributes_go_on_in_the_next_line_after_a_tab():
    read = attributes('Job Id: 1.s\n    Resource_List.mem = 4gb\n    exec_host = n1/0*4+\n\tn2/0*4\nName = "slot 1"\n')
    assert read == {"Resource_List.mem": "4gb", "exec_host": "n1/0*4+n2/0*4", "Name": "slot 1"}


def test_a_set_of_resources_of_several_kinds_of_node():
    told = {
        "version": 1,
        "execution": {
            "R_lite": [
                {"rank": "2", "children": {"core": "0"}},
                {"rank": "0-1", "children": {"core": "0-3,8", "gpu": "0-1"}},
            ],
            "nodelist": ["big[1-2]", "small"],
            "starttime": 0,
            "expiration": 0,
        },
    }
    found = resource_set(json.dumps(told))
    assert found.nodes == ("big1", "big2", "small")
    assert found.cores == {"big1": 5, "big2": 5, "small": 1}
    assert found.gpus == {"big1": ("0", "1"), "big2": ("0", "1"), "small": ()}


def test_a_number_too_long_to_be_one_is_none():
    long = "9" * 5000
    assert (whole(long), clock_s(f"{long}:00"), size_b(long)) == (None, None, None)
    assert len(hosts("n[0-99999]x[0-99999]")) == 100_000


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nonsense_is_no_set_of_resources_and_breaks_nothing(text):
    assert resource_set(text).nodes == ()
    for read in (hosts, tasks_of_nodes, clock_s, size_b, attributes, whole):
        read(text)


def test_a_host_is_found_with_and_without_its_domain():
    assert among(("a", "b.site.org"), "b") == "b.site.org"
    assert among(("a", "b"), "b.site.org") == "b"
    assert among(("a", "b"), "elsewhere") == "a"
    assert among((), "elsewhere") == ""

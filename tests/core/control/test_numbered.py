"""Outputs of which a payload made several."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilot_core.control.numbered import numbered
from pilot_core.model.files import FileSpec, Replica

NAMES = st.lists(st.text("ab._1", min_size=1, max_size=7), unique=True, max_size=8)


def test_each_goes_where_the_one_would_have_gone():
    """But for a place that somebody signed, which opens for its own name alone."""
    places = (Replica("root://h//d/X", "DISK"), Replica("https://h/b/X?sig=1", signed=True), Replica("https://h/other"))
    one = FileSpec(lfn="X", scope="s", guid="g", endpoint="DISK", replicas=places)
    first, second = numbered([one], ["X._001", "X._002"])
    assert (first.lfn, second.lfn, first.scope, first.endpoint) == ("X._001", "X._002", "s", "DISK")
    assert [place.url for place in second.replicas] == ["root://h//d/X._002", *(place.url for place in places[1:])]
    assert len({"g", first.guid, second.guid}) == 3
    assert numbered([one], ["X._001", "X._002"]) == (first, second)


def test_an_archive_of_others_is_made_and_not_looked_for():
    archive = FileSpec(lfn="X", members=("*.root",))
    assert numbered([archive], ["X._001"]) == (archive,)


@given(NAMES, NAMES)
def test_nothing_is_lost_or_told_twice(expected, here):
    """Every expected output is there still, or such as are there stand in its place."""
    outputs = [FileSpec(lfn=name) for name in expected]
    found = [file.lfn for file in numbered(outputs, here)]
    assert len(set(found)) == len(found)
    assert set(expected) & set(here) <= set(found)
    assert set(found) - set(expected) <= set(here)
    for gone in set(expected) - set(found):
        assert any(name.startswith(gone) for name in set(found) - set(expected))

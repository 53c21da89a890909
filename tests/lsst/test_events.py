"""One command for each range of quanta."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.sdk import PilotError
from pilot_lsst.events import Quanta, order_in, parameters_of

TENTH = Quanta.of("Panda:isr:eventservice_90", 10)


def test_a_range_is_named_after_its_pseudo_input():
    assert TENTH.token == "isr:eventservice_90"
    assert TENTH.index == "99"
    assert parameters_of("decode isr:eventservice_90+x", TENTH) == "decode isr:eventservice_90^10+x"


def test_another_pseudo_input_that_begins_alike_is_left_alone():
    assert parameters_of("isr:eventservice_900 isr:eventservice_90", TENTH).split() == [
        "isr:eventservice_900",
        "isr:eventservice_90^10",
    ]


def test_a_map_of_the_order_names_the_quantum_itself():
    text = 'export RUBIN_ES_MAP=\'{"isr": {"99": "isr:quantum7"}}\'; decode isr:eventservice_90'
    assert parameters_of(text, TENTH).endswith("decode isr:quantum7")
    with pytest.raises(PilotError, match="no quantum 99"):
        parameters_of("isr:eventservice_90", TENTH, {"isr": {"1": "x"}})
    assert parameters_of("isr:eventservice_90", TENTH, {"other": {}}) == "isr:eventservice_90^10"


@pytest.mark.parametrize("text", ["", "RUBIN_ES_MAP={", "RUBIN_ES_MAP=[1]", 'RUBIN_ES_MAP={"isr": 1}'])
def test_what_is_no_map_is_none(text):
    assert order_in(text) == {}


@given(st.text(min_size=12))
def test_what_is_encoded_is_changed_within_and_stays_encoded(words):
    plain = f"{words} isr:eventservice_90 ;"
    encoded = b64encode(plain.encode()).decode()
    changed = parameters_of(encoded, TENTH)
    assert b64decode(changed).decode() == f"{words} isr:eventservice_90^10 ;"


@given(st.text(alphabet="ABCabc0123+/= '$;", max_size=80))
def test_a_command_without_the_token_is_not_touched(text):
    assert parameters_of(text, TENTH) == text


@pytest.mark.parametrize(("lfn", "first"), [("isr", 1), ("a:b:c_1", 0)])
def test_what_names_no_range_is_refused(lfn, first):
    with pytest.raises(PilotError, match="no range of quanta"):
        Quanta.of(lfn, first)


def test_a_file_without_a_number_has_no_index():
    with pytest.raises(PilotError, match="no number"):
        parameters_of("isr:file", Quanta.of("p:isr:file", 1), {"isr": {"0": "x"}})

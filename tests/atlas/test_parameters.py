"""Arguments of jobs that read inputs where they lie."""

from __future__ import annotations

from pilot_atlas.command import write_lists
from pilot_atlas.parameters import parameters_of
from pilot_core.sdk import FileSpec, Receipt

from .jobs import a_job, analysis, outputs

URL = "root://se.example.org:1094//d/EVNT.1?a=b&c"


def direct(*names: str) -> tuple[Receipt, ...]:
    return tuple(Receipt(lfn=name, direction="direct", url=URL, tool="t", size_b=1) for name in names)


def test_without_any_they_stay_as_they_are():
    odd = "--x=\"$HOME\"  'a  b'"
    assert parameters_of(a_job(parameters=odd)) == odd
    assert parameters_of(analysis(parameters=odd)) == odd


def test_a_production_transform_is_told_where_they_lie():
    job = a_job(parameters="--inputEVNTFile=EVNT.1,EVNT.2 --out=xEVNT.1", receipts=direct("EVNT.1"))
    assert parameters_of(job) == f"--inputEVNTFile='{URL}',EVNT.2 --out=xEVNT.1"


def test_a_users_transform_is_told_to_look_into_the_catalogue():
    inputs = (FileSpec(lfn="A", guid="g1"), FileSpec(lfn="B", guid="g2"), FileSpec(lfn="lib.tgz", guid="g3"))
    job = analysis(parameters="-i \"['B', 'A', 'C']\"", inputs=inputs, receipts=direct("A", "B"))
    assert parameters_of(job) == "-i \"['B', 'A', 'C']\" --usePFCTurl --directIn --inputGUIDs \"['g2', 'g1']\""


def test_a_build_names_no_inputs_and_odd_lists_name_none():
    told = {"parameters": "-i \"['A']\"", "inputs": (FileSpec(lfn="A", guid="g"),), "receipts": direct("A")}
    assert parameters_of(analysis(**told)).endswith(" --inputGUIDs \"['g']\"")
    assert parameters_of(analysis(**told, outputs=outputs("x.lib.tgz"))).endswith(" --directIn")
    odd = analysis(parameters="-i '__import__(1)'", receipts=direct("A"))
    assert parameters_of(odd).endswith("' --usePFCTurl --directIn")


def test_lists_that_the_arguments_name_say_it_too(tmp_path):
    job = a_job(receipts=direct("EVNT.1"), more={"job.texts": {"list.txt": "--in\nEVNT.1\nEVNT.11\n"}})
    write_lists(job, tmp_path)
    assert (tmp_path / "list.txt").read_text() == f"--in\n{URL}\nEVNT.11\n"

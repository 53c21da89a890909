"""How each generation of servers wants to be spoken to: what its calls and fields are named, how a body is written.

Messages are kept in the words of the first version, which an older server knows by other names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from pilot_core.builtin.panda.answers import (
    Answer,
    Envelope,
    read_envelope,
    read_envelopes,
    read_old_envelope,
    read_old_envelopes,
)
from pilot_core.builtin.panda.words import ASKS, TELLS, Words

WORDS: Final[Mapping[str, Words]] = {"acquire": ASKS, "update": TELLS}
"""For each call the fields that it may have."""
VITAL: Final = frozenset({"job_id", "job_status", "attempt_nr", "site_name"})
"""Without these no message makes sense, so none is left out because a server does not take it."""
OUTCOME: Final[Mapping[str, frozenset[str]]] = {
    "finished": frozenset({"job_output_report"}),
    "failed": frozenset(
        ("job_output_report", *(f"{whose}_error_{what}" for whose in ("pilot", "exe") for what in ("code", "diag")))
    ),
}
"""Without these the last word on a job would be another: it is kept rather than said with less."""

KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "acquire": frozenset(
        ("site_name", "prod_source_label", "computing_element", "node", "memory", "disk_space", "n_jobs", "timeout")
    ),
    "update": VITAL
    | frozenset(("node", "pilot_id", "start_time", "end_time", "trans_exit_code", "job_output_report"))
    | frozenset(f"{whose}_error_{what}" for whose in ("pilot", "exe") for what in ("code", "diag")),
}
"""For each call the fields that every server has ever taken, and that say what matters."""


@frozen(kw_only=True)
class Dialect:
    """One generation of servers."""

    name: str
    calls: Mapping[str, str]
    """The path of each call."""
    write: Callable[[Mapping[str, object]], dict[str, Any]]
    """What to send for a body: the arguments for it of ``Web.call``."""
    read: Callable[[Answer], Envelope]
    write_all: Callable[[Sequence[Mapping[str, object]], str], dict[str, Any]]
    """The same for many updates at once, by this harvester's pilot."""
    read_all: Callable[[Answer], list[Envelope] | None]
    inquire: Callable[[Mapping[str, object]], dict[str, Any]]
    """How to ask for something that is kept for the pilot: the method, and the arguments for what is asked."""
    disowned: Callable[[Answer], bool]
    """Whether an answer says that the server is of the other generation."""


def named_as_before(values: Mapping[str, object]) -> dict[str, object]:
    """The fields of a message by the names that an older server has for them."""
    return {OLD_NAMES.get(name) or _camel(name): value for name, value in values.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _as_json(body: Mapping[str, object]) -> dict[str, Any]:
    return {"json": body, "compress": True}


def _as_form(body: Mapping[str, object]) -> dict[str, Any]:
    return _form(named_as_before(body))


def _form(values: Mapping[str, object]) -> dict[str, Any]:
    from urllib.parse import urlencode

    form = urlencode(values).encode()
    return {"data": form, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


def _all_as_json(bodies: Sequence[Mapping[str, object]], harvester: str) -> dict[str, Any]:
    return _as_json({"job_list": list(bodies), **({"harvester_id": harvester} if harvester else {})})


def _all_as_form(bodies: Sequence[Mapping[str, object]], harvester: str) -> dict[str, Any]:
    from json import dumps

    return _form({"jobList": dumps([named_as_before(body) for body in bodies])})


def _get(asked: Mapping[str, object]) -> dict[str, Any]:
    return {"method": "GET", "query": asked}


def _post_form(asked: Mapping[str, object]) -> dict[str, Any]:
    """A list is one text of an older server's, which answers such a question in JSON only if it is told so."""
    lists = {name: ",".join(value) for name, value in asked.items() if isinstance(value, tuple)}
    return {"method": "POST", **_form({**asked, **lists, **({"get_json": "True"} if lists else {})})}


def _has_no_api(answer: Answer) -> bool:
    return answer.status == 404


def _has_the_api_alone(answer: Answer) -> bool:
    return answer.status == 403 and b"is forbidden" in answer.body[:400]


OLD_NAMES: Final[Mapping[str, str]] = {
    "memory": "mem",
    "scheduler_id": "schedulerID",
    "task_id": "taskID",
    "prod_user_id": "prodUserID",
    "job_status": "state",
    "pilot_id": "pilotID",
    "batch_id": "batchID",
    "job_output_report": "xml",
    **{name: name for name in ("remaining_time", "harvester_id", "worker_id", "source_site", "destination_site")},
    "cpu_architecture_level": "cpu_architecture_level",
    **{f"{how}_{what}": f"{how}{what.upper()}" for how in ("max", "avg") for what in ("rss", "vmem", "swap", "pss")},
    **{
        f"{how}_{what}": f"{how}{what.upper()}"
        for how in ("tot", "rate")
        for what in ("rchar", "wchar", "rbytes", "wbytes")
    },
}
"""Names that are not those of the first version with its words run together."""

CALLS: Final[Mapping[str, tuple[str, str]]] = {
    "acquire": ("pilot/acquire_jobs", "getJob"),
    "update": ("pilot/update_job", "updateJob"),
    "updates": ("pilot/update_jobs_bulk", "updateJobsInBulk"),
    "token": ("creds/get_access_token", "get_access_token"),
    "proxy": ("creds/get_proxy", "getProxy"),
    "secrets": ("creds/get_user_secrets", "get_user_secrets"),
}
"""What the first version calls each call, and what an older server does."""

V1: Final = Dialect(
    name="v1",
    calls={call: f"/api/v1/{name}" for call, (name, _) in CALLS.items()},
    write=_as_json,
    read=read_envelope,
    write_all=_all_as_json,
    read_all=read_envelopes,
    inquire=_get,
    disowned=_has_no_api,
)
LEGACY: Final = Dialect(
    name="legacy",
    calls={call: f"/server/panda/{name}" for call, (_, name) in CALLS.items()},
    write=_as_form,
    read=read_old_envelope,
    write_all=_all_as_form,
    read_all=read_old_envelopes,
    inquire=_post_form,
    disowned=_has_the_api_alone,
)

"""PanDA's older calls for pilots, ``/server/panda/<function>``, told in the words of the first version and back.

A body is a form, or JSON that is packed whatever the headers say. An answer is a row of names and values: JSON where
that is asked for, else in the manner of a form. A name that is not known fails the call, a number that is none is
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from attrs import evolve, frozen

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.credential_calls import NO_SECRETS
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.lending import Lending, NotLent
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.pilot_calls import (
    ADMIN,
    DATABASE,
    INVALID,
    JSON,
    RESOURCE_TYPES,
    RUN,
    SUCCEEDED,
    TEXT,
    PilotCalls,
    is_known,
    not_known,
    wants_json,
    why_no_worker,
)
from pilot_core.dispatcher.updates import STDOUT_MOST, cut, said

FOLDER: Final = "/server/panda/"
FOR_ADMINS: Final = frozenset({"get_token_key", "setDebugMode"})
IN_SENTENCES: Final = frozenset({"setDebugMode", "updateWorkerPilotStatus"})
"""What these will not do they say in a bare sentence."""
NO_JOBS: Final = 20
ROLE: Final = 60
MOST_FIELDS: Final = 200
WORKER: Final = frozenset({"site", "workerID", "harvesterID", "status"})
Cast = Callable[[object], object]
Words = Mapping[str, tuple[str, Cast]]
Row = Mapping[str, object]


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def _whole(value: object) -> int | None:
    number = _real(value)
    return int(number) if number is not None and abs(number) < 2**63 else None


def _real(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None


def _flag(value: object) -> bool:
    return value == "True"


ASKS: Final[Words] = {
    "siteName": ("site_name", _text),
    "prodSourceLabel": ("prod_source_label", _text),
    "computingElement": ("computing_element", _text),
    "node": ("node", _text),
    "mem": ("memory", _whole),
    "diskSpace": ("disk_space", _whole),
    "remaining_time": ("remaining_time", _text),
    "jobType": ("job_type", _text),
    "resourceType": ("resource_type", _text),
    "nJobs": ("n_jobs", _whole),
    "taskID": ("task_id", _whole),
    "prodUserID": ("prod_user_id", _text),
    "background": ("background", _flag),
    "viaTopic": ("via_topic", _flag),
    "harvester_id": ("harvester_id", _text),
    "worker_id": ("worker_id", _whole),
    "schedulerID": ("scheduler_id", _text),
    "getProxyKey": ("get_proxy_key", _text),
    "timeout": ("timeout", _whole),
}
"""What a request for work says, and the first version's word for it."""

TELLS: Final[Words] = {
    "jobId": ("job_id", _whole),
    "state": ("job_status", _text),
    "attemptNr": ("attempt_nr", _whole),
    "jobSubStatus": ("job_sub_status", _text),
    "siteName": ("site_name", _text),
    "node": ("node", _text),
    "schedulerID": ("scheduler_id", _text),
    "pilotID": ("pilot_id", _text),
    "batchID": ("batch_id", _text),
    "startTime": ("start_time", _text),
    "endTime": ("end_time", _text),
    "coreCount": ("core_count", _whole),
    "meanCoreCount": ("mean_core_count", _real),
    "nEvents": ("n_events", _whole),
    "nInputFiles": ("n_input_files", _whole),
    "cpuConsumptionTime": ("cpu_consumption_time", _whole),
    "cpuConsumptionUnit": ("cpu_consumption_unit", _text),
    "cpuConversionFactor": ("cpu_conversion_factor", _real),
    "cpu_architecture_level": ("cpu_architecture_level", _text),
    **{f"{how}{what}": (f"{how}_{what.lower()}", _real) for how in ("max", "avg") for what in ("RSS", "VMEM")},
    **{f"{how}{what}": (f"{how}_{what.lower()}", _real) for how in ("max", "avg") for what in ("SWAP", "PSS")},
    **{f"{how}{what}": (f"{how}_{what.lower()}", _real) for how in ("tot", "rate") for what in ("RCHAR", "WCHAR")},
    **{f"{how}{what}": (f"{how}_{what.lower()}", _real) for how in ("tot", "rate") for what in ("RBYTES", "WBYTES")},
    "jobMetrics": ("job_metrics", _text),
    "pilotTiming": ("pilot_timing", _text),
    "transExitCode": ("trans_exit_code", _whole),
    "pilotErrorCode": ("pilot_error_code", _whole),
    "pilotErrorDiag": ("pilot_error_diag", _text),
    "exeErrorCode": ("exe_error_code", _whole),
    "exeErrorDiag": ("exe_error_diag", _text),
    "xml": ("job_output_report", _text),
    "metaData": ("meta_data", _text),
    "pilotLog": ("pilot_log", _text),
    "stdout": ("stdout", lambda value: _text(value)[:STDOUT_MOST]),
    "corruptedFiles": ("corrupted_files", _text),
    "grid": ("grid", _text),
    "source_site": ("source_site", _text),
    "destination_site": ("destination_site", _text),
    "timeout": ("timeout", _whole),
}
"""What an update says, likewise."""

_TO_JOBS: Final = ("token", "cpu", "countryGroup", "workingGroup", "allowOtherCountry")
_TO_UPDATES: Final = ("token", "timestamp", "workdir", "remainingSpace", "messageLevel", "computingElement")
IGNORED: Final = {"getJob": frozenset(_TO_JOBS), "updateJob": frozenset(_TO_UPDATES)}
"""What may be said to a function and is not heard; an experiment's release is another such word."""


@frozen
class LegacyCalls:
    """The functions by their names; ``on`` says whether they are answered at all."""

    calls: PilotCalls
    lending: Lending
    on: bool

    def answer(self, request: Request) -> Response:
        """The answer to one request; ``Refused`` if it cannot be understood, or is not answered at all."""
        name = request.path.removeprefix(FOLDER)
        if name == "isAlive" and self.on:
            return Response(200, b"alive=yes", TEXT)
        function = _FUNCTIONS.get(name)
        if function is None or not self.on:
            raise Refused(403, f"method {name[:80]} is forbidden")
        if request.role != ADMIN and (request.role != RUN or name in FOR_ADMINS):
            told = f"no production/pilot role: the token is for {request.role!r}"
            return _sentence(told) if name in IN_SENTENCES else _row(request, {"StatusCode": ROLE, "errorDialog": told})
        return function(self, request, _arguments(request))


def refused(request: Request, why: Refused) -> Response:
    """What will not be done, in plain text; what cannot be understood fails the call."""
    if why.status == 403 and not is_known(request):
        return not_known(why)
    return Response(500 if why.status == 400 else why.status, f"ERROR : {why.text}".encode(), TEXT)


def database_failed(request: Request) -> Response:
    """The store could not be read or written."""
    return _row(request, {"StatusCode": DATABASE, "errorDialog": "database error"})


def _get_job(here: LegacyCalls, request: Request, given: Row) -> Response:
    given = {name: value for name, value in given.items() if not name.endswith("Release")}
    asked = said(_read("getJob", given, ASKS, ("siteName",)))
    jobs, why = here.calls.take(asked)
    if not jobs:
        return _row(request, {"StatusCode": NO_JOBS, "errorDialog": f"no jobs in PanDA{': ' if why else ''}{why}"})
    if "nJobs" not in given:
        return _row(request, json.loads(jobs[0]))
    text = f"[{','.join(jobs)}]"
    return _row(request, {"StatusCode": 0, "jobs": json.loads(text) if wants_json(request) else text})


def _update_job(here: LegacyCalls, request: Request, given: Row) -> Response:
    return _row(request, _updated(here.calls, given))


def _updated(calls: PilotCalls, given: Row) -> Row:
    """What an update comes to; a state that nobody may say, and a report that comes too late, are passed over."""
    update = cut(said(_read("updateJob", given, TELLS, ("jobId", "state"))))
    if "job_id" not in update:
        return {"StatusCode": INVALID, "errorDialog": "'jobId' wants to be a whole number"}
    if update.get("job_status") not in leases.SPOKEN:
        return {"StatusCode": 0}
    told = calls.hear(update)
    if told["StatusCode"] == 0:
        return told
    if told["ErrorDiag"] == "Failed to add meta_data":
        return {"StatusCode": 0}
    return {"StatusCode": told["StatusCode"], "errorDialog": told["ErrorDiag"]}


def _update_jobs(here: LegacyCalls, request: Request, given: Row) -> Response:
    """Several updates; one that cannot be understood hides the answers to all."""
    _known("updateJobsInBulk", given, {"jobList", "harvester_id"}, ("jobList",))
    try:
        rows = [_updated(here.calls, _strings(each)) for each in _list_of_rows(given["jobList"])]
    except Refused as refused:
        return Response.of([False, refused.text])
    told: Any = [_row(request, row).body.decode() for row in rows]
    return Response.of([True, [{"type": "json", "content": text} for text in told] if wants_json(request) else told])


def _get_status(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("getStatus", given, {"ids", "timeout"}, ("ids",))
    found = here.calls.known(_ids(given, None))
    states = "+".join("notfound" if state == "not found" else state for _, state, _ in found)
    return _row(request, {"StatusCode": 0, "status": states, "attemptNr": "+".join(str(each[2]) for each in found)})


def _check_status(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("checkJobStatus", given, {"ids", "timeout"}, ("ids",))
    return Response.of({"StatusCode": 0, "data": here.calls.standing(_ids(given, ","))})


def _debug(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("setDebugMode", given, {"pandaID", "modeOn"}, ("pandaID", "modeOn"))
    job = _whole(given["pandaID"])
    if job is None:
        return _sentence("'pandaID' wants to be a whole number")
    return _sentence(here.calls.follow(job, _flag(given["modeOn"])) or SUCCEEDED)


def _worker_status(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("updateWorkerPilotStatus", given, WORKER | {"timeout", "node_id"}, tuple(sorted(WORKER)))
    why = why_no_worker(given["status"])
    return _sentence(why) if why else _row(request, {"StatusCode": 0})


def _resource_types(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("getResourceTypes", given, {"timeout"}, ())
    return _row(request, {"StatusCode": 0, "Returns": 0, "ResourceTypes": list(RESOURCE_TYPES)})


def _get_token(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("get_access_token", given, {"client_name", "token_key"}, ("client_name",))
    client, key = _text(given["client_name"]), _text(given.get("token_key", ""))
    return _lent(request, "userProxy", lambda: here.lending.token(client, key))


def _get_key(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("get_token_key", given, {"client_name"}, ("client_name",))
    return _lent(request, "tokenKey", lambda: here.lending.key(_text(given["client_name"])))


def _get_proxy(here: LegacyCalls, request: Request, given: Row) -> Response:
    _known("getProxy", given, {"role", "dn"}, ())
    return _lent(request, "userProxy", here.lending.proxy)


def _lent(request: Request, name: str, lend: Callable[[], str]) -> Response:
    try:
        return _row(request, {"StatusCode": 0, name: lend(), "errorDialog": ""})
    except NotLent as why:
        return _row(request, {"StatusCode": why.code, "errorDialog": str(why)})


def _get_secrets(here: LegacyCalls, request: Request, given: Row) -> Response:
    """Those of who asks: nobody entrusts any to a dispatcher."""
    _known("get_user_secrets", given, {"keys", "get_json"}, ())
    return Response.of([True, {} if given.get("get_json") == "True" else NO_SECRETS])


_FUNCTIONS: Final[Mapping[str, Callable[[LegacyCalls, Request, Row], Response]]] = {
    "getJob": _get_job,
    "updateJob": _update_job,
    "updateJobsInBulk": _update_jobs,
    "getStatus": _get_status,
    "checkJobStatus": _check_status,
    "setDebugMode": _debug,
    "updateWorkerPilotStatus": _worker_status,
    "getResourceTypes": _resource_types,
    "get_access_token": _get_token,
    "get_token_key": _get_key,
    "getProxy": _get_proxy,
    "get_user_secrets": _get_secrets,
}
FUNCTIONS: Final = ("isAlive", *_FUNCTIONS)


# --- reading and writing ---


def _arguments(request: Request) -> Row:
    """What a function is given, by its query and its body."""
    given: dict[str, object] = {name: values[-1] for name, values in request.query.items()}
    if request.headers.get("content-type") == JSON:
        packed = evolve(request, headers={**request.headers, "content-encoding": "gzip"})
        return given | _strings(packed.json())
    try:
        form = parse_qs(request.read().decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "the body is no form such as 'name=value&name=value'") from None
    return given | {name: values[-1] for name, values in form.items()}


def _strings(raw: object) -> dict[str, object]:
    """What came as JSON, with flags as the words for them."""
    if not isinstance(raw, Mapping):
        raise Refused(400, "the arguments want to be one JSON object")
    return {name: str(value) if isinstance(value, bool) else value for name, value in raw.items()}


def _list_of_rows(written: object) -> list[object]:
    try:
        rows = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise Refused(400, "'jobList' wants to be a list in JSON")
    return rows


def _read(function: str, given: Row, words: Words, required: tuple[str, ...]) -> dict[str, object]:
    """What is given, in the words of the first version."""
    _known(function, given, words.keys() | IGNORED[function], required)
    heard = {name: value for name, value in given.items() if name in words and value is not None and value != ""}
    return {words[name][0]: words[name][1](value) for name, value in heard.items()}


def _known(function: str, given: Row, known: Collection[str], required: tuple[str, ...]) -> None:
    if strange := [name for name in given if name not in known]:
        raise Refused(400, f"{function}() got an unexpected keyword argument {strange[0]!r:.80}")
    if missing := [name for name in required if given.get(name) in (None, "")]:
        raise Refused(400, f"{function}() missing a required argument: {missing[0]!r}")


def _ids(given: Row, between: str | None) -> list[int]:
    found = [_whole(each) for each in _text(given["ids"]).split(between)]
    if None in found:
        raise Refused(400, "'ids' wants to be a list of whole numbers")
    return [each for each in found if each is not None]


def _sentence(text: str) -> Response:
    return Response(200, text.encode(), TEXT)


def _row(request: Request, row: Row) -> Response:
    """Names and values as they are wished for; in the manner of a form every value is what Python writes."""
    if wants_json(request):
        return Response.of(row)
    return Response(200, urlencode({name: str(value) for name, value in row.items()}).encode(), TEXT)

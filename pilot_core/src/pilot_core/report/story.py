"""The parts of one job's story on the page: what went wrong, when, how much was used, which files, in whose words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

from pilot_core.report.account import Account, Fault, File, Sample, Span
from pilot_core.report.markup import Markup, joined, tag
from pilot_core.report.plot import Line, Point, plot
from pilot_core.report.units import BYTES, COUNT, PLAIN, SPEED, Ladder, in_bytes, lasted, moment, say

MOST_SPANS: Final = 200
MOST_MEASURES: Final = 12
_HAS_ITS_PLACE: Final = re.compile(r"disk_b|(?:max|avg|tot|rate)_\w+")
"""Measures that are plotted already, or are sums over time."""
COLOURS: Final = 5
PAYLOAD: Final = "run"
FILE_HEADS: Final = ("File", "", "Size", "Time", "Speed", "Checksum")
FILE_NUMBERS: Final = frozenset({"Size", "Time", "Speed"})


@frozen
class Used:
    """What a payload used, all in all."""

    cpu_s: float | None
    rss_peak_b: float | None
    read_b: float | None
    written_b: float | None


def used(account: Account) -> Used:
    """The totals of the record; of what it does not say, the most that was ever sampled."""
    totals, samples = account.totals, account.usage
    cpu = [totals[name] for name in ("cpu_user_s", "cpu_system_s") if name in totals]
    return Used(
        cpu_s=sum(cpu) if cpu else max((each.cpu_s for each in samples), default=None),
        rss_peak_b=max((totals.get("rss_peak_b", 0.0), *(each.rss_b for each in samples))) or None,
        read_b=max((totals.get("read_b", 0.0), *(each.read_b for each in samples))) or None,
        written_b=max((totals.get("written_b", 0.0), *(each.written_b for each in samples))) or None,
    )


def state_of(account: Account) -> Markup:
    """The state, in its colour."""
    known = account.state if account.state in ("finished", "failed") else ""
    return tag("span", account.state, class_=f"state {known}".strip())


def parts_of(account: Account) -> Iterator[Markup]:
    """All that is told of a job, below its heading."""
    yield from (tag("p", remark, class_="remark") for remark in account.remarks)
    yield from map(_fault, account.faults)
    yield _tiles(account)
    yield _part("Timeline", _timeline(account.spans))
    yield _part("Usage", _usage(account))
    yield _part("Files", _files(account.files))
    yield _part("Command", tag("pre", _command(account.command)) if account.command else "")
    yield _part("Circumstances", _list(account.facts))
    yield from (_folded(f"What the payload said: {name}", text, open_=True) for name, text in account.said.items())
    yield _folded("The end of the pilot's log", account.log, open_=True)
    yield _more(account)
    yield _folded("The message as it came", account.message)


def _command(words: tuple[str, ...]) -> str:
    """As it would be typed; what a shell is given as it was written."""
    return words[-1] if words[:-1] == ("/bin/sh", "-c") else shlex.join(words)


def _more(account: Account) -> Markup:
    """What few want to know, folded."""
    parts = (
        _part("Environment asked for", _list(account.environment)),
        _part("Plugins that had a say", _list(account.plugins)),
        _part("What plugins made of the message", _list(account.extras)),
        _part("Fields of the message that are found nowhere in the job", _list(account.unused)),
        _part("Notes", _list(account.notes)),
    )
    told = joined(part for part in parts if part)
    return tag("details", tag("summary", "What else is known"), told) if told else Markup()


def _part(title: str, content: str) -> Markup:
    return tag("section", tag("h3", title), content) if content else Markup()


def _folded(title: str, text: str, *, open_: bool = False) -> Markup:
    if not text.strip():
        return Markup()
    return tag("details", tag("summary", title), tag("pre", text), open="open" * open_)


def _list(facts: Mapping[str, str]) -> Markup:
    return (
        tag("dl", *(joined((tag("dt", name), tag("dd", text))) for name, text in facts.items())) if facts else Markup()
    )


def _fault(fault: Fault) -> Markup:
    code = tag("div", f"{fault.number} {fault.acronym}", tag("span", _rank(fault), class_="dim"), class_="code")
    detail = (tag("p", fault.detail, class_="detail"),) if fault.detail else ()
    seen = (tag("p", f"{fault.evidence}: ", tag("code", fault.said)),) if fault.evidence else ()
    return tag("div", code, tag("p", fault.sentence), *detail, *seen, tag("p", _verdict(fault)), class_="fault")


def _verdict(fault: Fault) -> str:
    """Of which class it is, whose fault, and what somebody can do."""
    told = (
        f"Class: {fault.kind}." if fault.kind else "",
        _blamed(fault.party),
        f"What to do: {fault.remedy or fault.advice}." if fault.remedy or fault.advice else "",
        f"Retry: {fault.retry}." if fault.retry else "",
    )
    return " ".join(filter(None, told))


def _blamed(party: str) -> str:
    if party == "nobody":
        return "Nobody's fault."
    return f"Fault of the {party}." if party else ""


def _rank(fault: Fault) -> str:
    return "" if fault.reported else " (beside the reported one)"


def _tiles(account: Account) -> Markup:
    usage = used(account)
    tiles = {
        "payload": account.ended,
        ("lasted so far" if account.open else "lasted in all"): lasted(account.lasted_s),
        "CPU time": lasted(usage.cpu_s) if usage.cpu_s is not None else "",
        "most memory": in_bytes(usage.rss_peak_b) if usage.rss_peak_b else "",
        "read": in_bytes(usage.read_b) if usage.read_b else "",
        "written": in_bytes(usage.written_b) if usage.written_b else "",
    }
    return tag(
        "div",
        *(tag("div", tag("b", said), tag("span", name), class_="tile") for name, said in tiles.items() if said),
        class_="tiles",
    )


# --- when ---


def _timeline(spans: tuple[Span, ...]) -> Markup:
    if not spans:
        return Markup()
    began = min(span.at for span in spans)
    total_s = max(span.at + span.lasted_s for span in spans) - began or 1.0
    colours = {phase: number % COLOURS for number, phase in enumerate(dict.fromkeys(span.phase for span in spans))}
    rows = (_bar(span, (span.at - began) / total_s, span.lasted_s / total_s, colours) for span in spans[:MOST_SPANS])
    keys = (tag("span", tag("i", class_=f"phase{colour}"), phase) for phase, colour in colours.items())
    return joined((*rows, tag("div", *keys, class_="key")))


def _bar(span: Span, start: float, width: float, colours: Mapping[str, int]) -> Markup:
    kind = f"bar phase{colours[span.phase]}{' open' * span.open}"
    place = f"left:{min(start, 0.995):.2%};width:{max(min(width, 1 - start), 0.0):.2%}"
    bar = tag("div", class_=kind, style=place, title=f"{span.name}, from {moment(span.at)}")
    spent = f"{lasted(span.lasted_s)}{' so far' * span.open}"
    return tag("div", tag("div", span.name), tag("div", bar, class_="track"), tag("div", spent), class_="span")


# --- how much ---


def _usage(account: Account) -> Markup:
    samples = account.usage
    if not samples:
        return tag("p", "The payload ended before it was measured for the first time, or never ran.", class_="dim")
    began = next((span.at for span in account.spans if span.name == PAYLOAD), samples[0].at)
    times = [max(sample.at - began, 0.0) for sample in samples]
    figures = (
        _figure("Memory", BYTES, _memory(times, samples)),
        _figure("CPU in use, cores", PLAIN, {"": cores(times, samples)}),
        _figure("Read and written", BYTES, _io(times, samples)),
        _figure("Processes", COUNT, {"": _points(times, (each.processes for each in samples))}),
        _figure("Job's directory", BYTES, {"": _points(times, (each.disk_b for each in samples))}),
        *_measures(times, samples),
    )
    return tag("div", *figures, class_="plots")


def _memory(times: list[float], samples: tuple[Sample, ...]) -> Mapping[str, list[Point]]:
    """What the processes hold, and that with shared pages once, where it was measured."""
    resident = _points(times, (each.rss_b for each in samples))
    proportional = [(time, each.pss_b) for time, each in zip(times, samples, strict=True) if each.pss_b]
    return {"resident": resident, "proportional": proportional} if proportional else {"": resident}


def _io(times: list[float], samples: tuple[Sample, ...]) -> Mapping[str, list[Point]]:
    return {
        "read": _points(times, (each.read_b for each in samples)),
        "written": _points(times, (each.written_b for each in samples)),
    }


def _points(times: list[float], values: Iterable[float]) -> list[Point]:
    return list(zip(times, values, strict=True))


def cores(times: list[float], samples: tuple[Sample, ...]) -> list[Point]:
    """How many cores were busy between each sample and the one before, which a time of 0 began."""
    before = [(0.0, 0.0), *zip(times, (each.cpu_s for each in samples), strict=True)]
    return [
        (time, max(sample.cpu_s - spent, 0.0) / (time - since))
        for (since, spent), time, sample in zip(before, times, samples, strict=False)
        if time > since
    ]


def _measures(times: list[float], samples: tuple[Sample, ...]) -> Iterator[Markup]:
    """What plugins measured, under their own names, but for what has its plot already."""
    names = dict.fromkeys(name for sample in samples for name in sample.more if not _HAS_ITS_PLACE.fullmatch(name))
    for name in list(names)[:MOST_MEASURES]:
        points = [(time, each.more[name]) for time, each in zip(times, samples, strict=True) if name in each.more]
        yield _figure(name, BYTES if name.endswith("_b") else PLAIN, {"": points})


def _figure(title: str, ladder: Ladder, quantities: Mapping[str, list[Point]]) -> Markup:
    lines = [Line(name or title, points) for name, points in quantities.items()]
    if not any(value > 0 for line in lines for _, value in line.points):
        return Markup()
    picture = Markup(plot(title, lines, ladder))
    return tag("figure", picture, tag("figcaption", *_captions(quantities, ladder), class_="key"))


def _captions(quantities: Mapping[str, list[Point]], ladder: Ladder) -> Iterator[Markup]:
    for number, (name, points) in enumerate(quantities.items()):
        most = f"{name} at most {say(max((value for _, value in points), default=0.0), ladder)}".strip()
        yield tag("span", *((tag("i", class_=f"line{number}"),) if name else ()), most)


# --- which files ---


def _files(files: tuple[File, ...]) -> Markup:
    if not files:
        return Markup()
    heads = (tag("th", name, class_="number" if name in FILE_NUMBERS else "") for name in FILE_HEADS)
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *map(_file, files)), class_="fold")


def _file(file: File) -> Markup:
    where = tag("div", file.url, class_="dim") if file.url else Markup()
    cells: dict[str, str] = {
        "File": joined((file.name, where)),
        "": f"{file.state} by {file.tool}" if file.tool else file.state,
        "Size": in_bytes(file.size_b) if file.size_b is not None else "",
        "Time": lasted(file.took_s) if file.took_s is not None else "",
        "Speed": say(file.speed_b_s, SPEED) if file.speed_b_s is not None else "",
        "Checksum": file.checksum,
    }
    numeric = {name: "number" if name in FILE_NUMBERS else "" for name in cells}
    return tag("tr", *(tag("td", said, class_=numeric[name], data_label=name) for name, said in cells.items()))

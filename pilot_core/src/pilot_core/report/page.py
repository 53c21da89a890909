"""The page: one file of HTML, without scripts and without anything from elsewhere; every text of a job is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pilot_core.report.account import Account
from pilot_core.report.markup import Markup, joined, tag
from pilot_core.report.story import parts_of, state_of, used
from pilot_core.report.style import STYLE
from pilot_core.report.units import in_bytes, lasted, moment

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
SUMMARY: Final = ("Job", "Attempt", "State", "Node", "Began", "Lasted", "CPU", "Memory", "Ended by")
NUMBERS: Final = frozenset({"Attempt", "Lasted", "CPU", "Memory"})


def page(accounts: Sequence[Account], place: str, at: float, version: str) -> str:
    """A report of these jobs, which were found at ``place``."""
    accounts = sorted(accounts, key=lambda each: each.state == "finished")
    title = f"Job {_named(accounts[0])}" if len(accounts) == 1 else f"{len(accounts)} jobs"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} - pilot report"),
        tag("style", Markup(STYLE)),
    )
    foot = tag("footer", f"Made by pilot {version} on {moment(at)} from {place}.", class_="dim")
    body = tag("body", _several(accounts, title, place) if len(accounts) > 1 else _only(accounts[0]), foot)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _only(account: Account) -> Markup:
    return tag("article", _heading(account, "h1"), *parts_of(account), class_="only")


def _several(accounts: Sequence[Account], title: str, place: str) -> Markup:
    counts = {
        state: sum(each.state == state for each in accounts) for state in dict.fromkeys(a.state for a in accounts)
    }
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    top = (tag("h1", title), tag("p", f"{told}; found in {place}", class_="dim"), _summary(accounts))
    articles = (_folded(account, _anchor(number)) for number, account in enumerate(accounts))
    return joined((*top, *articles))


def _folded(account: Account, anchor: str) -> Markup:
    """A job among others: folded if it finished. Browsers unfold it for a link to what is within."""
    told = tag("div", *parts_of(account), id=anchor)
    return tag(
        "article",
        tag("details", tag("summary", _heading(account, "h2")), told, open="open" * (account.state != "finished")),
    )


def _named(account: Account) -> str:
    return f"{account.id} ({account.name})" if account.name else account.id


def _heading(account: Account, level: str) -> Markup:
    name = _named(account) if level == "h2" else f"Job {_named(account)}"
    attempt = f"attempt {account.attempt}" if account.attempt else ""
    about = ", ".join(filter(None, (attempt, f"on {account.node}" if account.node else "", moment(account.began))))
    return joined((tag("div", tag(level, name), state_of(account), class_="head"), tag("div", about, class_="dim")))


def _anchor(number: int) -> str:
    return f"job-{number + 1}"


def _summary(accounts: Sequence[Account]) -> Markup:
    heads = (tag("th", name, class_="number" if name in NUMBERS else "") for name in SUMMARY)
    rows = (_row(number, account) for number, account in enumerate(accounts))
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="fold")


def _row(number: int, account: Account) -> Markup:
    usage, reported = used(account), account.faults[:1]
    cells: tuple[str, ...] = (
        tag("a", _named(account), href=f"#{_anchor(number)}"),
        account.attempt,
        state_of(account),
        account.node,
        moment(account.began),
        lasted(account.lasted_s),
        lasted(usage.cpu_s) if usage.cpu_s is not None else "",
        in_bytes(usage.rss_peak_b) if usage.rss_peak_b else "",
        f"{reported[0].number} {reported[0].acronym}" if reported else account.ended,
    )
    return tag("tr", *(_cell(name, cell) for name, cell in zip(SUMMARY, cells, strict=True)))


def _cell(name: str, content: str) -> Markup:
    return tag("td", content, class_="number" if name in NUMBERS else "", data_label="" if name == "Job" else name)

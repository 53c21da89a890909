"""What the dispatcher's page shows of one job, and what its buttons do, in a real browser."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

from pilot_core.dispatcher.serve import Dispatcher

from .pretended import BEGAN, ERROR, HOSTILE, Pretended, a_job, an_attempt, usage


def posted(server: Pretended) -> list[tuple[str, object]]:
    return [(path.rpartition("/")[2], body) for method, path, body in server.asked if method == "POST"]


def test_a_failed_job_says_why_and_what_to_do(serve, visit):
    failed = a_job(5, state="failed", began=BEGAN, ended=BEGAN + 300, lost=2, exit_code=3, error=ERROR)
    attempts = [an_attempt(n, began=BEGAN + 100 * n, ended=BEGAN + 100 * n + 90) for n in (1, 2)]
    detail = {"advice": "Mend the payload.", "log_tail": "first\nlast line", "timing": {"stage_in": 4.5, "payload": 80},
              "attempts": attempts, "usage": usage(2000), "description": {"command": ["a", "b"]}}  # fmt: skip
    tab = visit(serve([failed], {5: detail}))
    tab.click("#rows a")
    tab.see("document.querySelectorAll('#plots svg').length === 4")
    text = tab.value("document.getElementById('detail').innerText")
    for said in ("Failed to execute payload", "EXEFAILED 1305", "exit code 3", "Mend the payload.", "lost 2 times"):
        assert said in text
    for said in ("Attempt 2", "Phases of attempt 1", "Stage in 4.5 s", "last line"):
        assert said in text
    assert tab.value("document.activeElement.id") == "job-title"
    named = tab.value("[...document.querySelectorAll('#plots svg')].map(e => e.getAttribute('aria-label'))")
    assert named[0].startswith("Memory: at most 1.2 GB")
    assert "read at most 20 MB/s" in named[2]
    lines = tab.value("[...document.querySelectorAll('#plots .line')].map(e => e.getAttribute('d'))")
    assert len(lines) == 5
    assert not [line for line in lines if "NaN" in line or len(line) > 10_000]
    ticks = tab.value("[...document.querySelectorAll('#plots .tick')].map(e => e.textContent)")
    assert {"1 GB", "20 MB/s", "1 h"} <= set(ticks)
    tab.key("Escape")
    tab.see("document.activeElement === document.querySelector('#rows a')")


def test_what_its_pilot_found_out_is_shown(serve, visit):
    found = {"class": "<b>memory", "fault": "payload", "where": "same site", "counts": False, "memory_factor": 1.5}
    tab = visit(serve([a_job(5, state="failed", error={**ERROR, "failure": found})]), "&job=5")
    tab.see("document.getElementById('reason').textContent.includes('Class <b>memory, fault of the payload')")
    said = tab.value("document.getElementById('reason').textContent")
    assert "retry: same site, memory x 1.5, does not count." in said


def test_the_value_under_the_pointer_is_shown(serve, visit):
    server = serve([a_job(5, state="finished", began=BEGAN, ended=BEGAN + 300)], {5: {"usage": usage(20)}})
    tab = visit(server, "&job=5")
    tab.see("document.querySelectorAll('#plots svg').length === 4")
    tab.point("#plots figure:nth-child(3) svg")
    tab.see("document.querySelector('#plots figure:nth-child(3) output').textContent.includes('read 20 MB/s, written')")


def test_a_job_that_waits_in_vain_says_why(serve, visit):
    tab = visit(serve([a_job(5)], {5: {"advice": "no pilot <b>takes</b> it"}}), "&job=5")
    tab.see("document.getElementById('why-title').textContent === 'Why it waits'")
    assert tab.value("document.getElementById('reason').textContent") == "no pilot <b>takes</b> it"


def test_a_job_of_which_nothing_is_known_shows_no_empty_parts(serve, visit):
    tab = visit(serve([a_job(5)]), "&job=5")
    tab.see("document.getElementById('job-title').textContent.includes('waiting')")
    assert tab.value("[...document.querySelectorAll('#detail section')].every(part => part.hidden)")


def test_kill_asks_first_and_then_kills(serve, visit):
    server = serve([a_job(3, state="running", began=BEGAN)])
    tab = visit(server, "&job=3")
    tab.click("#kill")
    tab.click("#keep")
    assert posted(server) == []
    tab.click("#kill")
    tab.click("#end")
    told = "Job 3 is cancelled; if a pilot has it, as soon as that hears of it."
    tab.see(f"document.getElementById('said').textContent === {told!r}")
    tab.see("document.getElementById('job-title').textContent.includes('cancelled')")
    assert tab.value("document.getElementById('kill').hidden")
    assert posted(server) == [("cancel", {"ids": [3]})]


def test_retry_puts_a_failed_job_back(serve, visit):
    server = serve([a_job(3, state="failed", error=ERROR)])
    tab = visit(server, "&job=3")
    tab.click("#retry")
    tab.see("document.getElementById('job-title').textContent.includes('waiting')")
    assert posted(server) == [("retry", {"ids": [3]})]
    assert "waits for its next attempt" in tab.value("document.getElementById('said').textContent")


def test_debug_is_switched_on_and_off(serve, visit):
    server = serve([a_job(3, state="running", began=BEGAN)])
    tab = visit(server, "&job=3")
    for on in ("true", "false"):
        tab.click("#debug")
        tab.see(f"document.getElementById('debug').getAttribute('aria-pressed') === '{on}'")
    assert posted(server) == [("debug", {"ids": [3], "on": True}), ("debug", {"ids": [3], "on": False})]


def test_a_command_is_asked_for_and_what_it_printed_is_shown_as_text(serve, visit):
    server = serve([a_job(3, state="running", began=BEGAN, debug=True)])
    tab = visit(server, "&job=3")
    tab.click("#command")
    tab.type("ls -l")
    tab.click("#look button")
    tab.see("document.getElementById('look-state').textContent.startsWith('Asked for “ls -l”')")
    assert posted(server) == [("debug", {"ids": [3], "on": True, "command": "ls -l"})]
    server.details[3] = {"answer": {"command": "ls -l", "text": "\n".join(HOSTILE), "at": BEGAN}}
    server.change(3, rss_b=1)
    tab.see("document.getElementById('answer').textContent.includes('window.harmed = 1')")
    assert tab.value("document.getElementById('look-state').textContent").startswith("“ls -l” at ")
    assert tab.value("window.harmed") is None
    assert tab.value("document.querySelectorAll('#answer *').length") == 0


def test_what_is_refused_is_said(serve, visit):
    server = serve([a_job(3, state="running", began=BEGAN)])
    server.refuse = "it ended just now"
    tab = visit(server, "&job=3")
    tab.click("#debug")
    tab.see("document.getElementById('said').textContent === 'Job 3: it ended just now'")


def test_an_order_that_needs_another_token_says_so_and_keeps_this_one(serve, chromium):
    tab = chromium.open(serve([a_job(3, state="running", began=BEGAN)]).url + "#token=some&job=3")
    tab.click("#debug")
    tab.see("document.getElementById('said').textContent === 'To debug needs the admin token.'")
    assert tab.value("document.getElementById('entry').hidden")


def test_the_detail_follows_its_job_and_the_log_its_end(serve, visit):
    server = serve([a_job(4, state="running", began=BEGAN)])
    tab = visit(server, "&job=4")
    tab.see("document.getElementById('job-title').textContent.includes('running')")
    server.details[4] = {"log_tail": "\n".join(map(str, range(500)))}
    server.change(4, state="holding")
    tab.see("document.getElementById('job-title').textContent.includes('holding')")
    at_end = "(log => log.textContent.endsWith('499') && log.scrollTop + log.clientHeight > log.scrollHeight - 8)"
    assert tab.value(f"{at_end}(document.getElementById('log'))")


def test_only_the_dispatchers_own_files_are_fetched_with_the_token(serve, visit, chromium, tmp_path):
    server = serve([a_job(6, state="finished")])
    own = f"{server.url}storage/6.1/hist.root"
    urls = (own, "https://elsewhere.example/storage/6.1/x", "javascript:harmed=1", "//elsewhere.example/storage/y")
    server.details[6] = {
        "files": [{"name": f"f{n}", "direction": "output", "size_b": 5, "url": url} for n, url in enumerate(urls)]
    }
    tab = visit(server, "&job=6")
    tab.see("document.querySelectorAll('#files li').length === 4")
    assert tab.value("[...document.querySelectorAll('#files button')].map(e => e.ariaLabel)") == ["Download f0"]
    chromium.call("Browser.setDownloadBehavior", behavior="deny")
    tab.click("#files button")
    tab.see("document.getElementById('said').textContent === 'f0 is downloaded.'")
    assert ("GET", "/storage/6.1/hist.root", "Bearer good") in server.asked


def test_the_real_dispatcher_is_understood(chromium, tmp_path):
    with Dispatcher(tmp_path / "home") as dispatcher:
        token = dispatcher.tokens.path("admin").read_text().strip()
        described = {"script": HOSTILE[0]}
        submit(dispatcher.url, token, {"queue": "local", "jobs": [{"description": described, "count": 130}]})
        tab = chromium.open(f"{dispatcher.url}/#token={token}")
        tab.see("document.querySelectorAll('#rows tr').length === 100")
        tab.click("#older")
        tab.see("document.querySelectorAll('#rows tr').length === 130")
        tab.click("#rows a")
        tab.click("#kill")
        tab.click("#end")
        tab.see("document.getElementById('job-title').textContent.includes('cancelled')")
        tab.click("#retry")
        tab.see("document.getElementById('job-title').textContent.includes('waiting')")
        assert HOSTILE[0][:9] in tab.value("document.getElementById('description').textContent")
        submit(dispatcher.url, token, {"queue": "local", "jobs": [{"description": described, "count": 1}]})
        tab.key("Escape")
        tab.see("document.querySelector('#rows tr').dataset.id === '131'")
        assert tab.complaints() == []
        tab.call("Page.close")


def submit(url: str, token: str, value: object) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = Request(f"{url}/dispatcher/v1/submit", json.dumps(value).encode(), headers)
    with urlopen(asked) as reply:
        assert reply.status == 200


def test_a_job_that_is_not_there_is_said_to_be_missing(serve, chromium):
    tab = chromium.open(serve([a_job(1)]).url + "#token=good&job=99")
    tab.see("document.getElementById('job-title').textContent.includes('There is no')")

"""The dispatcher's page: its structure always, what it does in a real browser where there is one."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from pilot_core.dispatcher import page as package
from pilot_core.dispatcher.page import HEADERS, page

from .browser import CONTRAST
from .pretended import BEGAN, ERROR, HOSTILE, Pretended, a_job, an_attempt, usage

TEXT = page().decode()
ROWS = "document.querySelectorAll('#rows tr').length"
NO_SCROLL = "document.documentElement.scrollWidth <= innerWidth"


class Elements(HTMLParser):
    """Every element with its attributes, and the texts of style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = [("", {})]
        self.inside: dict[str, str] = {}

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.found.append(("", {}))

    def handle_data(self, data):
        self.inside[self.found[-1][0]] = self.inside.get(self.found[-1][0], "") + data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture(scope="module")
def elements() -> Elements:
    parser = Elements()
    parser.feed(TEXT)
    return parser


def rules(elements: Elements) -> dict[str, str]:
    metas = elements.all("meta")
    text = next(one["content"] for one in metas if one.get("http-equiv") == "Content-Security-Policy")
    return dict(rule.split(" ", 1) for rule in (text or "").split("; "))


def test_jobs_that_are_forgotten_leave_the_list(serve, visit):
    server = serve([a_job(1, state="finished"), a_job(2)])
    tab = visit(server)
    tab.see("document.querySelectorAll('#rows tr').length === 2")
    server.forget(1)
    tab.see("document.querySelectorAll('#rows tr').length === 1")
    assert tab.value("document.getElementById('counted').textContent") == "1 job"


def test_the_page_is_one_text_and_asks_nobody_else(elements):
    assert not re.search(r"\{\{\w+\}\}", TEXT)
    assert elements.all("script") == [{"type": "module"}]
    for attributes in elements.all("link", "img", "a", "iframe"):
        assert (attributes.get("href") or "#").startswith(("#", "data:")), attributes
    assert set(re.findall(r"https?://[^'\"\s)]+", TEXT)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in elements.inside["style"]
    assert "@import" not in elements.inside["style"]


def test_its_policy_allows_this_style_and_this_script_only(elements):
    said = rules(elements)
    for name, element in (("script-src", "script"), ("style-src", "style")):
        digest = b64encode(sha256(elements.inside[element].encode()).digest()).decode()
        assert said[name] == f"'sha256-{digest}'"
    assert said["default-src"] == said["base-uri"] == said["form-action"] == "'none'"
    assert said["connect-src"] == "'self'"
    assert said["require-trusted-types-for"] == "'script'"
    assert "frame-ancestors 'none'" in HEADERS["Content-Security-Policy"]


def test_no_text_can_become_html(elements):
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML|DOMParser"
    assert not re.search(ways, elements.inside["script"])
    assert not [
        attributes for _, attributes in elements.found if {name for name in attributes if name.startswith("on")}
    ]
    assert not [attributes for _, attributes in elements.found if "style" in attributes]


def test_every_field_has_a_label_and_every_reference_a_place(elements):
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes["for"] for attributes in elements.all("label")}
    assert {attributes["id"] for attributes in elements.all("input", "select")} == labelled
    for _, attributes in elements.found:
        for name in ("aria-labelledby", "aria-describedby"):
            assert {*(attributes.get(name) or "").split()} <= set(ids)
    asked = set(re.findall(r"\$\(\"([\w-]+)\"\)", elements.inside["script"]))
    assert asked <= set(ids)


def test_everything_beside_the_module_is_in_the_page():
    beside = {item.name for item in files(package).iterdir() if item.is_file() and not item.name.startswith("__init__")}
    assert beside == {"page.html", *package.STYLES, *package.SCRIPTS}


def listed(server: Pretended) -> list[dict[str, str]]:
    return [query for _, path, query in server.asked if path.endswith("/jobs")]


def test_a_token_is_asked_for_once_and_nothing_is_asked_without_it(chromium, serve):
    server = serve([a_job(1)])
    tab = chromium.open(server.url)
    tab.see("document.activeElement.id === 'token'")
    assert server.asked == []
    tab.type("wrong")
    tab.key("Enter", "\r")
    tab.see("document.getElementById('entry-why').textContent.includes('not one of this dispatcher')")
    tab.type("good")
    tab.click("#entry button")
    tab.see(f"{ROWS} === 1")
    tab.call("Page.reload")
    tab.see(f"{ROWS} === 1")
    tab.click("#forget")
    tab.see("!document.getElementById('entry').hidden")
    assert tab.value(f"sessionStorage.length + {ROWS}") == 0


def test_a_token_in_the_address_is_taken_out_of_it_at_once(serve, visit):
    tab = visit(serve([a_job(7)]), "&job=7")
    tab.see("document.getElementById('job-title').textContent.includes('job-7')")
    assert tab.value("location.href + history.length").count("good") == 0
    assert tab.value("location.hash") == "#job=7"
    assert tab.value("localStorage.length") == 0


def test_hostile_texts_of_jobs_stay_texts(serve, visit):
    jobs = [
        a_job(n, name=text, node=text, queue=text, sub=text, state="failed", began=BEGAN, ended=BEGAN + 5,
              error=dict.fromkeys(ERROR, text))
        for n, text in enumerate(HOSTILE, 1)
    ]  # fmt: skip
    details = {n: everything_is(text) for n, text in enumerate(HOSTILE, 1)}
    tab = visit(serve(jobs, details), width=360, height=740)
    tab.see(f"{ROWS} === {len(HOSTILE)}")
    assert tab.value(NO_SCROLL)
    shown = tab.value("[...document.querySelectorAll('#rows .name')].map(e => e.textContent)")
    assert [text.replace("\ufffd", "\0") for text in shown] == [*reversed(HOSTILE)]
    for n in range(1, len(HOSTILE) + 1):
        tab.value(f"location.hash = '#job={n}'")
        tab.see(f"document.title.startsWith('Job {n}:') && !document.getElementById('files-part').hidden")
        assert tab.value(NO_SCROLL)
    assert tab.value("document.querySelectorAll('img, iframe, object, main script').length") == 0
    assert tab.value("window.harmed ?? 'unharmed'") == "unharmed"


def everything_is(text: str) -> dict[str, object]:
    return {
        "description": {text: text}, "log_tail": text, "advice": text, "timing": {text: 3.0}, "usage": usage(3),
        "files": [{"name": text, "direction": text, "size_b": 1, "checksum": text, "url": "javascript:harmed=1"}],
        "attempts": [an_attempt(1, node=text, state=text, began=BEGAN)],
    }  # fmt: skip


def test_ten_thousand_jobs_come_in_pages_and_change_without_a_reload(serve, visit):
    server = serve([a_job(n, state="finished") for n in range(1, 10_001)])
    tab = visit(server)
    tab.see(f"{ROWS} === 100")
    assert "100 of 10\u202f000" in tab.value("document.getElementById('counted').textContent")
    tab.click("#older")
    tab.see(f"{ROWS} === 200")
    tab.value("document.querySelector('[data-id=\"9900\"]').mine = true")
    server.change(9900, state="failed", error=ERROR)
    tab.see("document.querySelector('[data-id=\"9900\"]').textContent.includes('EXEFAILED')")
    server.change(10_001, name="the newest")
    tab.see("document.querySelector('#rows tr').dataset.id === '10001'")
    server.change(17, state="failed")
    tab.see("document.querySelector('.chip[data-state=failed]').textContent.includes('2')")
    assert tab.value(f"{ROWS} === 200 && document.querySelector('[data-id=\"9900\"]').mine")
    assert tab.value("document.querySelector('[data-id=\"17\"]')") is None
    asked = listed(server)
    assert [query.get("before") for query in asked if "since" not in query] == [None, "9901"]
    assert {query["limit"] for query in asked} == {"100"}
    assert all(float(query["wait_s"]) > 0 for query in asked if "since" in query)


def test_a_job_of_an_older_page_does_not_come_before_its_page(serve, visit):
    server = serve([a_job(n, state="running") for n in range(1, 301)])
    tab = visit(server, "&state=running")
    tab.see(f"{ROWS} === 100")
    server.change(250, state="finished")
    tab.see(f"{ROWS} === 99")
    with server.changed:
        server.change(5, cpu_s=7)
        server.change(299, name="changed")
    tab.see("document.querySelector('[data-id=\"299\"]').textContent.includes('changed')")
    tab.click("#older")
    tab.see(f"{ROWS} === 199")
    assert tab.value("document.querySelector('[data-id=\"5\"]')") is None


def test_more_changes_than_one_reply_holds_all_come(serve, visit):
    server = serve([a_job(n) for n in range(1, 251)])
    tab = visit(server)
    tab.see(f"{ROWS} === 100")
    tab.click("#older")
    tab.see(f"{ROWS} === 200")
    with server.changed:
        for number in range(1, 251):
            server.change(number, state="running", began=BEGAN)
    tab.see("document.querySelectorAll('#rows tr[data-state=running]').length === 200")


def test_a_filter_asks_the_dispatcher_and_a_job_that_leaves_it_leaves_the_list(serve, visit):
    names = ("simulate", "merge")
    jobs = [a_job(n, name=names[n % 2], queue=("local", "big")[n % 3 == 0], state="running") for n in range(1, 13)]
    server = serve(jobs)
    tab = visit(server)
    tab.see(f"{ROWS} === 12")
    tab.click(".queue[data-name=big]")
    tab.see(f"{ROWS} === 4")
    tab.key("/", "/")
    tab.type("merge")
    tab.see(f"{ROWS} === 2")
    tab.click(".chip[data-state=running]")
    tab.see("document.querySelector('.chip[data-state=running]').getAttribute('aria-pressed') === 'true'")
    assert tab.value("location.hash") == "#queue=big&state=running&text=merge"
    server.change(3, state="finished")
    tab.see(f"{ROWS} === 1")
    assert listed(server)[-1]["text"] == "merge"


def test_a_dispatcher_that_went_away_is_told_and_found_again(serve, chromium):
    server = serve([a_job(1)])
    tab = chromium.open(server.url + "#token=good")
    tab.see(f"{ROWS} === 1")
    tab.call("Network.enable")
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.call("Network.emulateNetworkConditions", offline=True, **offline)
    server.change(1, state="sent")
    tab.see("document.getElementById('connection').textContent.includes('no connection')")
    tab.call("Network.emulateNetworkConditions", offline=False, **offline)
    tab.see("document.querySelector('#rows tr').dataset.state === 'sent'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 900)])
def test_it_fits_the_screen_and_its_colours_can_be_read(serve, visit, scheme, size):
    jobs = [a_job(n, name="a name", node="node-1.example.org", state=s, began=BEGAN, rss_b=3e8, error=ERROR)
            for n, s in enumerate(("running", "failed", "finished"), 1)]  # fmt: skip
    tab = visit(serve(jobs, {2: {"usage": usage(40), "advice": "Wait."}}), width=size[0], height=size[1], scheme=scheme)
    tab.see(f"{ROWS} === 3")
    assert tab.value(NO_SCROLL)
    assert tab.value("getComputedStyle(document.querySelector('#rows tr')).display") == (
        "flex" if size[0] < 761 else "table-row"
    )
    assert tab.value(CONTRAST) > 4.5
    tab.value("location.hash = '#job=2'")
    tab.see("document.querySelectorAll('#plots svg').length === 4")
    assert tab.value(NO_SCROLL)
    assert tab.value(CONTRAST) > 4.5

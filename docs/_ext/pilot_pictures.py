"""Pictures made by the build: what a running pilot shows on a terminal, a job's report, a dispatcher's live page.

``pilot-picture NAME`` puts one of ``terminal``, ``report`` and ``page`` where it stands, with its content as the
caption. Pilots and a dispatcher really run for it. Without Chromium, or if something fails, the place stays empty and
one notice says why.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from runpy import run_path
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from pilot_core.cli.terminal import lines

log = logging.getLogger(__name__)

BROWSER: Final = Path(__file__).parents[2] / "tests" / "core" / "dispatcher" / "browser.py"
"""The browser that tests use."""
ROWS: Final = "document.querySelectorAll('#rows tr').length === 6"
LIMIT_S: Final = 90
COLUMNS: Final = 92
BLANK: Final = "&#160;"
UNSAID: Final = "{caption}"
"""Where a picture, for who can't see it, has its caption."""
SORT: Final = """
script: |
  sort "$NAMES" > sorted.txt
  head -c 300000000 /dev/zero | sort > /dev/null
environment: {NAMES: names.txt}
inputs: [names.txt]
outputs: [sorted.txt]
log: {name: sorted.log.tar.gz}
"""
FAIL: Final = """
script: |
  echo "ERROR: the detector's geometry is older than the data" >&2
  exit 3
"""
ASK: Final = """
script: |
  head -c 300000000 /dev/zero | sort > /dev/null
  "$PILOT" -m pilot_core status --json "$WORK" > status.json
outputs: [{name: status.json, destination: ../}]
needs: {cores: 1}
environment:
"""


class Unmade(Exception):
    """A picture could not be made, for this reason."""


def run(*words: object, cwd: Path, env: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """Run a program to its end; what it said."""
    program = [str(word) for word in words]
    ran = subprocess.run(
        program, cwd=cwd, env=_clean(env), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if ran.returncode not in codes:
        raise Unmade(f"`{' '.join(map(str, words[2:4]))}` ended with {ran.returncode}: {ran.stderr.strip()[-300:]}")
    return ran.stdout


def pilot(*words: object, cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command of the pilot; its dispatcher's home is below ``cwd``."""
    home = {"PILOT_SERVER_HOME": str(cwd / "server")}
    return run(sys.executable, "-m", "pilot_core", *words, cwd=cwd, env=home, codes=codes)


def _clean(more: dict[str, str] | None) -> dict[str, str]:
    """The environment without settings of a pilot that runs this build's machine."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PILOT_")}
    return {**kept, **(more or {})}


def lay_out(top: Path) -> None:
    """The jobs, and the input that one of them needs."""
    (top / "names.txt").write_text("Rutherford\nMeitner\nNoether\n")
    (top / "sort.yaml").write_text(SORT)
    (top / "fail.yaml").write_text(FAIL)


# --- the three ------------------------------------------------------------------------------------------------------


def terminal(top: Path) -> str:
    """What a pilot says of itself while it runs one job and another waits, drawn: the first job itself asks it."""
    variables = {"PILOT": sys.executable, "WORK": str(top / "work")}
    box = top / "box"
    box.mkdir()
    (box / "fit-2026-11.yaml").write_text(ASK + "".join(f"  {name}: {text}\n" for name, text in variables.items()))
    (box / "sort-2026-11.yaml").write_text(SORT.replace("names.txt]", "../names.txt]"))
    one_core = ("--set", "slot.cores=1", "--set", "monitor.sample_s=0.05", "--output-dir", top)
    asked = ("--set", "payload.isolation=none")
    pilot("run", "--filebox", "box", "--workdir", "work", *one_core, *asked, cwd=top)
    status = json.loads((top / "status.json").read_text())
    return _screen(lines({**status, "workdir": "work"}, COLUMNS))


def _screen(shown: list[str]) -> str:
    height = 20 * len(shown) + 24
    style = "font: 14px ui-monospace, monospace"
    texts = (
        f'<text x="14" y="{20 * number + 28}" fill="{"#ccc" if number else "#fff"}">{line}</text>'
        for number, line in enumerate(escape(each).replace(" ", BLANK) for each in shown)
    )
    return (
        f'<svg viewBox="0 0 {COLUMNS * 8.5:.0f} {height}" style="{style}" role="img" aria-label="{UNSAID}">'
        f'<rect width="100%" height="100%" rx="8" fill="#1e2227"/>{"".join(texts)}</svg>'
    )


def report(top: Path) -> str:
    """The report of a work directory in which one job finished and one failed."""
    often = ("--set", "monitor.sample_s=0.05", "--output-dir", top)
    for name, codes in (("sort", (0,)), ("fail", (1,))):
        pilot("run", "--job", f"{name}.yaml", "--workdir", "work", *often, cwd=top, codes=codes)
    pilot("report", "work", "--to", "report.html", cwd=top)
    return _photograph((top / "report.html").as_uri(), top, 1240)


def page(top: Path) -> str:
    """The page of a dispatcher with jobs of all kinds."""
    with _dispatcher(top) as (url, told):
        pilot("submit", "sort.yaml", "--count", 3, cwd=top)
        pilot("submit", "fail.yaml", cwd=top)
        run(*_program(told["run"]), "--max-jobs", 4, "--workdir", "work", cwd=top, codes=(0, 1, 82))
        pilot("submit", "sort.yaml", "--count", 2, cwd=top)
        token = (top / "server" / "tokens" / "admin").read_text().strip()
        return _photograph(f"{url}/#token={token}", top, 700, ROWS)


def _program(words: list[str]) -> list[str]:
    """A command of the pilot's, run by this interpreter."""
    return [sys.executable, "-m", "pilot_core", *words[1:]]


@contextmanager
def _dispatcher(top: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    words = [sys.executable, "-m", "pilot_core", "serve", "--json", "--home", str(top / "server")]
    serving = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_clean(None), text=True)
    assert serving.stdout is not None
    try:
        said = "".join(iter(serving.stdout.readline, "}\n"))
        told = json.loads(said + "}")
        yield told["url"], told
    finally:
        serving.terminate()
        serving.wait(LIMIT_S)


def _photograph(url: str, top: Path, height: int, seen: str = "document.body") -> str:
    """What a browser shows at this address, once this expression holds there."""
    chromium = run_path(str(BROWSER))
    if chromium["program"]() is None:
        raise Unmade("there is no Chromium")
    shot = top / "shot.png"
    browser = chromium["Browser"](top / "profile")
    try:
        tab = browser.open(url, 1100, height)
        tab.see(seen)
        tab.value("document.documentElement.style.overflow = 'hidden'")
        tab.picture(shot)
    except AssertionError as unseen:
        raise Unmade(str(unseen).partition("\n")[0]) from unseen
    finally:
        browser.close()
    return f'<img src="data:image/png;base64,{base64.b64encode(shot.read_bytes()).decode()}" alt="{UNSAID}">'


# --- in the manual --------------------------------------------------------------------------------------------------

MADE: Final[dict[str, Callable[[Path], str]]] = {"terminal": terminal, "report": report, "page": page}


def made(name: str) -> str:
    """The picture as HTML; nothing, and a notice, if it could not be made."""
    top = Path(tempfile.mkdtemp(prefix="pilot-picture-"))
    try:
        lay_out(top)
        return MADE[name](top)
    except (Unmade, OSError, ValueError, KeyError, subprocess.SubprocessError) as why:
        log.info("the manual has no picture of the %s: %s", name, why)
        return ""
    finally:
        shutil.rmtree(top, ignore_errors=True)


class Picture(SphinxDirective):
    """A picture with a caption, or nothing."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make it, but for builders that show none."""
        name = self.arguments[0]
        if name not in MADE:
            raise self.error(f"there is no picture {name!r}; there are {', '.join(MADE)}")
        shown = made(name) if self.env.app.builder.format == "html" else ""
        said = escape(" ".join(self.content))
        figure = f"<figure>{shown.replace(UNSAID, said)}<figcaption>{said}</figcaption></figure>"
        return [nodes.raw("", figure, format="html")] if shown else []


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directive."""
    app.add_directive("pilot-picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

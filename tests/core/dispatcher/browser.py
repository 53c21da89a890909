"""A headless Chromium for tests, driven by the DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--lang=en-GB",
    "--remote-debugging-pipe",
)
#: Looks again whenever the page changes; no polling.
WAIT = """new Promise(done => {
  const found = () => { try { return (%s) } catch { return null } };
  const look = () => { const value = found(); if (value) { seen.disconnect(); done(value) } };
  const seen = new MutationObserver(look);
  seen.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  look();
})"""

#: The lowest contrast of any text that is shown with what is behind it.
CONTRAST = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [0.2126 * r, 0.7152 * g, 0.0722 * b];
  const luminance = (c) => light(c.slice(0, 3).map(v => linear(v / 255))).reduce((a, b) => a + b);
  const ground = (e) => parts(getComputedStyle(e).backgroundColor);
  const behind = (e) => { const c = ground(e); return c.length < 4 || c[3] > 0 ? c : behind(e.parentElement) };
  const colour = (e, style) => parts(e instanceof SVGElement ? style.fill : style.color);
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const hasText = (e) => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  const shown = [...document.querySelectorAll('body *')].filter(e =>
    hasText(e) && e.checkVisibility() && !e.closest('.unseen, noscript'));
  return Math.min(...shown.map(e => contrast(luminance(colour(e, getComputedStyle(e))), luminance(behind(e)))));
})()"""


def program() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *PROGRAMS))), None)


class Browser:
    """One browser process with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        argv = [program() or "", *FLAGS, f"--user-data-dir={profile}"]
        moves = [(os.POSIX_SPAWN_DUP2, fd, place) for fd, place in zip(high, (3, 4), strict=True)]
        log = (os.POSIX_SPAWN_OPEN, 2, str(profile) + ".log", os.O_WRONLY | os.O_CREAT, 0o600)
        self._pid = os.posix_spawn(
            argv[0], argv, {**os.environ, "HOME": str(profile)}, file_actions=[*moves, log], setpgroup=0
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._rest = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", limit_s: float = 20, **params: object) -> dict[str, Any]:
        """Ask for one thing and wait for its answer; events on the way are kept."""
        self._last += 1
        asked = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        end = time.monotonic() + limit_s
        while True:
            message = self._message(end, method)
            if message.get("id") != self._last:
                self.events.append(message)
            elif "error" in message:
                raise AssertionError(f"{method}: {message['error']}")
            else:
                result: dict[str, Any] = message["result"]
                return result

    def hear(self, method: str, session: str, heard: int, limit_s: float = 20) -> None:
        """Wait for an event of this kind after so many were heard."""
        end = time.monotonic() + limit_s
        while (method, session) not in [(one["method"], one.get("sessionId")) for one in self.events[heard:]]:
            self.events.append(self._message(end, method))

    def _message(self, end: float, asked: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready = select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"the browser did not answer {asked}"
            piece = os.read(self._in, 1 << 20)
            assert piece, f"the browser ended during {asked}"
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Tab:
        """A new tab without anything kept by others, at this address."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        tab.call("Runtime.enable")
        tab.call("Log.enable")
        tab.call("Page.enable")
        tab.size(width, height, scheme)
        tab.go(url)
        return tab

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class Tab:
    """One page: what a person does with it, and what is to be seen."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def go(self, url: str) -> None:
        """To another page; a change of the fragment alone loads nothing."""
        heard = len(self.browser.events)
        self.call("Page.navigate", url=url)
        self.browser.hear("Page.loadEventFired", self.session, heard)

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What a JavaScript expression, or a promise, comes to."""
        said = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def see(self, expression: str) -> Any:
        """Wait until it holds; what it came to."""
        try:
            return self.value(WAIT % expression)
        except AssertionError as error:
            raise AssertionError(f"never seen: {expression}\n{self.value('document.body.innerText')[:2000]}") from error

    def point(self, selector: str) -> tuple[float, float]:
        """The pointer goes to its middle, as a person's."""
        spot = self.see(
            f"(e => e && !e.hidden && !e.hasAttribute('aria-disabled') && e.getClientRects().length"
            f" && (e.scrollIntoView({{block: 'center'}}), true)"
            f" && (b => [b.x + b.width / 2, b.y + b.height / 2])(e.getBoundingClientRect()))"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
        return spot[0], spot[1]

    def click(self, selector: str) -> None:
        x, y = self.point(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def key(self, key: str, text: str = "") -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[str]:
        """What the browser found wrong so far: exceptions, errors in its console, refusals of the policy."""
        mine = [event for event in self.browser.events if event.get("sessionId") == self.session]
        said = [event["params"] for event in mine if event["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}]
        return [json.dumps(one) for one in said]

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

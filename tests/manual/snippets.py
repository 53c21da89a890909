"""The blocks of code in the manual, and a shell that runs what a reader would type.

An HTML comment right before a block says what it is; readers don't see it: ``job: NAME``, ``settings: NAME``,
``server: NAME``, ``module: NAME``, ``test: NAME`` and ``file: NAME``. The block is written under that name where the
page's commands run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

DOCS: Final = Path(__file__).parents[2] / "docs"
BLOCK: Final = re.compile(
    r"(?:^<!-- (\w+): (\S+) -->\n)?^```(yaml|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
LIMIT_S: Final = 60.0
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?: (?:ms|s|min|h|kB|MB|GB|B)\b)?")


@frozen
class Block:
    """One block: where it is, what it says it is, and its text."""

    page: str
    line: int
    kind: str
    name: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path, root: Path) -> list[Block]:
    """All blocks of a page."""
    text = path.read_text()
    page = str(path.relative_to(root))
    found = BLOCK.finditer(text)
    return [Block(page, text[: m.start()].count("\n") + 1, m[1] or "", m[2] or "", m[3], m[4]) for m in found]


@frozen
class Step:
    """A command that a reader types, and the lines that it is said to answer."""

    command: str
    shown: tuple[str, ...]
    checks_itself: bool
    """Whether the next thing that is typed asks how it ended."""


def steps(text: str) -> list[Step]:
    """The commands of a console block. All lines of a here-document, and after a backslash, are the command's."""
    found: list[tuple[str, list[str]]] = []
    until = ""
    for line in text.splitlines():
        if until:
            found[-1] = (f"{found[-1][0]}\n{line}", [])
            until = "" if line == until else until
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
            here = re.search(r"<< '(\w+)'", line)
            until = here[1] if here else ""
        else:
            found[-1][1].append(line)
    asked = [*(command for command, _ in found[1:]), ""]
    return [Step(c, tuple(s), following == "echo $?") for (c, s), following in zip(found, asked, strict=True)]


def looks_like(shown: str) -> re.Pattern[str]:
    """What a shown line stands for: any number for a number, anything for three dots."""
    parts = (re.escape(" ".join(NUMBER.sub("0", part).split())) for part in shown.split("..."))
    return re.compile(r"\s*" + ".*".join(parts) + r"\s*")


def missing(shown: Sequence[str], said: Sequence[str], exact: bool) -> list[str]:
    """Shown lines that were not said, in this order."""
    rest = iter(said if exact else [" ".join(NUMBER.sub("0", line).split()) for line in said])
    wanted = [line for line in shown if line.strip() not in ("", "...")]
    if exact:
        return [line for line in wanted if line not in rest]
    return [line for line in wanted if not any(looks_like(line).fullmatch(each) for each in rest)]


class Shell:
    """A shell that stays, so that ``cd``, variables and background programs do."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._ended = 0
        self._late = threading.Timer(LIMIT_S, self._kill)
        self._late.start()

    def type(self, step: Step) -> tuple[int, list[str]]:
        """Type a command; its exit code, and all that was said until it ended.

        One that is left in the background has begun when it has said the first line that is shown of it.
        """
        behind = step.command.endswith("&")
        self._send(f"(exit {self._ended})\n{{ {step.command}\n}} </dev/null\n")
        if behind:
            first = looks_like(next(line for line in step.shown if line != "..."))
            said = list(self._until(lambda line: first.fullmatch(" ".join(NUMBER.sub("0", line).split()))))
            return 0, [*said, *self._rest_of(len(step.shown) - 1)]
        self._send('printf "\\n:end: %d\\n" $?\n')
        said = list(self._until(lambda line: line.startswith(":end: ")))
        self._ended = int(said.pop().split()[1])
        return self._ended, said[:-1] if said and not said[-1] else said

    def _rest_of(self, lines: int) -> Iterator[str]:
        yield from (self._line() for _ in range(lines))

    def _send(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()

    def _line(self) -> str:
        assert self._shell.stdout is not None
        line = self._shell.stdout.readline()
        assert line, "the shell ended, or a command did not within its time"
        return line.rstrip("\n")

    def _until(self, last) -> Iterator[str]:
        while True:
            line = self._line()
            yield line
            if last(line):
                return

    def _kill(self) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the shell and what it left in the background."""
        self._late.cancel()
        self._kill()
        self._shell.communicate()

"""Every block in README and manual is what it claims: jobs and settings are read, Python and commands run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pilot_core.config.layers import ConfigError
from pilot_core.model.described import describe, read_job

from .snippets import DOCS, Block, Shell, blocks, missing, steps

README = DOCS.parent / "README.md"
PAGES = {
    str(path.relative_to(README.parent)): found
    for path in (README, *sorted(DOCS.rglob("*.md")))
    if (found := blocks(path, DOCS.parent))
}
FOLLOWED = [name for name, found in PAGES.items() if any(each.language != "yaml" for each in found)]
PORT = "8642"
"""The port that pages name; tests take one that is free."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a page's reader works."""
    made = tmp_path / "reader"
    made.mkdir()
    return made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A reader's environment: a home, an environment for plugins, the pilot that is under test, no index."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PILOT_", "PIP_", "XDG_"))}
    python = Path(sys.executable).parent
    pip = {"PIP_NO_BUILD_ISOLATION": "false", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{python}{os.pathsep}{kept['PATH']}"
    return {**kept, **pip, "HOME": str(tmp_path), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


@pytest.fixture
def own_environment(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment of the reader's own, that has in it all that this one has."""
    top = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", top], check=True)
    purelib = Path(sysconfig.get_path("purelib"))
    theirs = next(top.glob("lib/python*/site-packages"))
    (theirs / "all.pth").write_text(f"import site; site.addsitedir({str(purelib)!r})\n")
    for program in ("pip", "pytest", "pilot"):
        module = {"pilot": "pilot_core"}.get(program, program)
        (top / "bin" / program).write_text(f'#!/bin/sh\nexec "{top}/bin/python" -m {module} "$@"\n')
        (top / "bin" / program).chmod(0o755)
    return {**environ, "PATH": f"{top / 'bin'}{os.pathsep}{environ['PATH']}", "VIRTUAL_ENV": str(top)}


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def of(language: str, *kinds: str) -> list[Block]:
    return [each for page in PAGES.values() for each in page if each.language == language and each.kind in kinds]


def test_every_block_says_what_it_is():
    known = {"yaml": {"", "job", "settings", "server", "file"}, "python": {"", "module", "test"}, "console": {""}}
    assert [str(each) for page in PAGES.values() for each in page if each.kind not in known[each.language]] == []
    assert sum(map(len, PAGES.values())) > 30


@pytest.mark.parametrize("block", of("yaml", "", "job"), ids=str)
def test_a_described_job_is_one(block):
    job = read_job(describe(Path("/here") / (block.name or "job.yaml"), block.text.encode(), "manual"))
    assert job.transformation


@pytest.mark.parametrize("block", of("yaml", "settings"), ids=str)
def test_a_sites_settings_hold_only_options_that_exist(block, folder, environ):
    for each in PAGES[block.page]:
        if each.language == "yaml":
            (folder / each.name).write_text(each.text)
    words = [sys.executable, "-m", "pilot_core", "config", "check", block.name]
    ran = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("block", of("yaml", "server"), ids=str)
def test_a_dispatchers_file_is_read(block, folder):
    from pilot_core.dispatcher.config import read_config

    (folder / block.name).write_text(block.text)
    try:
        assert read_config(folder / block.name).queues
    except ConfigError as wrong:
        pytest.fail(str(wrong))


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_reader_who_follows_a_page_gets_what_it_shows(name, folder, environ, port, request):
    if name == "docs/guides/plugin-author.md":
        environ = request.getfixturevalue("own_environment")
    shell = Shell(folder, environ)
    try:
        for block in PAGES[name]:
            follow(block, shell, folder, environ, port)
    finally:
        shell.close()


def follow(block: Block, shell: Shell, folder: Path, environ: dict[str, str], port: str) -> None:
    if block.name:
        where = folder / ("pilot-sky" if (folder / "pilot-sky").exists() else "") / block.name
        where.write_text(block.text)
    if block.language == "console":
        type_all(block, shell, port)
    elif block.language == "python":
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", block.name] if block.kind == "test" else ["-"]
        run = [sys.executable, "-W", "error", *words]
        where = folder / "pilot-sky" if (folder / "pilot-sky").exists() else folder
        ran = subprocess.run(
            run,
            cwd=where,
            env={**environ, "PYTHONPATH": f"{where}{os.pathsep}{where / 'src'}"},
            input=block.text,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout}{ran.stderr}"


def type_all(block: Block, shell: Shell, port: str) -> None:
    for step in steps(block.text.replace(PORT, port)):
        code, said = shell.type(step)
        told = "\n".join((f"{block}: $ {step.command}", *said))
        assert code == 0 or step.checks_itself, f"{told}\nended with {code}"
        lacking = missing(step.shown, said, exact=step.command == "echo $?")
        assert lacking == [], f"{told}\nwhich does not say {lacking}"

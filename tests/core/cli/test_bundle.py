"""``pilot bundle`` with made-up distributions: what is taken, what is refused, and how the tree starts on a node."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from pilot_core.cli.bundling import start as program
from pilot_core.cli.bundling.manifest import Manifest, Packed, survey, time_of
from pilot_core.cli.bundling.pack import archive
from pilot_core.cli.bundling.rebuild import wheel_of
from pilot_core.cli.bundling.target import Target
from pilot_core.cli.main import main
from pilot_core.cli.mistakes import Usage

HERE = f"3.{sys.version_info.minor}"
OTHER = f"3.{sys.version_info.minor + 1}"
TELLS = """
import json, os, sys
from importlib.metadata import distributions
def main():
    names = sorted(found.name for found in distributions())
    told = {"argv": sys.argv, "path": sys.path, "names": names, "environ": sorted(os.environ), "read": sys.stdin.read()}
    print(json.dumps(told))
    return 7
"""
CORE = {
    "pilot_core/__init__.py": "",
    "pilot_core/cli/__init__.py": "",
    "pilot_core/cli/main.py": TELLS,
    "pilot_core/tests/__init__.py": "",
    "pilot_core/tests/test_it.py": "",
    "pilot_core/tests_of_strength/__init__.py": "",
}


def wheel(folder: Path, name: str, files: dict[str, str], *facts: str, version: str = "1.0") -> Path:
    """Make a wheel by hand; ``facts`` are further lines of its metadata."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *facts, ""])
    inside = {
        **files,
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name.replace('-', '_')}:main\n",
    }
    record = "".join(f'"{each}",sha256={digest(text)},{len(text)}\n' for each, text in inside.items())
    path = folder / f"{stem}-py3-none-any.whl"
    with ZipFile(path, "w") as packed:
        for each, text in {**inside, f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n"}.items():
            packed.writestr(each, text)
    return path


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def made_up(folder: Path) -> Path:
    """Wheels for a bundle: a core that tells what it sees, and what it needs."""
    extra = "Requires-Python: >=3.11", "Provides-Extra: more", "Requires-Dist: rest; extra == 'more'"
    wheel(folder, "pilot-core", CORE, "Requires-Dist: needed>=1", *extra)
    wheel(folder, "needed", {"needed.py": "WORD = 'needed'\n"})
    wheel(folder, "rest", {"rest.py": ""})
    return folder


@pytest.fixture
def wheels(tmp_path):
    return made_up(tmp_path / "wheels")


@pytest.fixture
def bundle(pilot, wheels, tmp_path):
    """Makes a bundle of these wheels and no others."""

    def make(*words: object, to: str = "bundle") -> Path:
        said = pilot("bundle", *words, "--from", wheels, "--no-index", "--to", tmp_path / to)
        assert said.code == 0, said.err
        return tmp_path / to

    return make


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A bundle that is made once, and that no test touches."""
    place = tmp_path_factory.mktemp("pristine")
    words = ["--from", str(made_up(place / "wheels")), "--no-index", "--to", str(place / "bundle")]
    assert main(["bundle", "pilot-core", *words]) == 0
    return place / "bundle"


@pytest.fixture
def tree(pristine, tmp_path):
    """A copy of it."""
    return shutil.copytree(pristine, tmp_path / "bundle")


@pytest.fixture
def node(tmp_path):
    """A node with an interpreter of the right version and hardly more than a shell."""
    path = tmp_path / "node"
    path.mkdir()
    for tool in ("sh", "dirname", "readlink"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    (path / "python3").symlink_to(os.path.realpath(sys.executable))
    return path


def start(program: Path, node: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": str(node), "PYTHONPATH": "/nowhere", **environ}
    return subprocess.run([program, *words], env=settings, capture_output=True, text=True, input="given")


def told(program: Path, node: Path, *words: str, **environ: str) -> dict:
    done = start(program, node, *words, **environ)
    assert (done.returncode, done.stderr) == (7, "")
    return json.loads(done.stdout)


def test_a_bundle_sees_itself_and_the_standard_library(tree, node):
    seen = told(
        tree / "bin" / "pilot", node, "run", "a b", "", PILOT_VERIFY="full", PILOT_PYTHON="python3", PILOT_X="x"
    )
    assert seen["argv"] == [str(tree / "bin" / "pilot"), "run", "a b", ""]
    assert seen["names"] == ["needed", "pilot-core"]
    assert seen["path"][-1] == str(tree / "lib" / "packages")
    assert not [path for path in seen["path"] if path.endswith("site-packages") or path == "/nowhere"]
    assert [name for name in seen["environ"] if name.startswith("PILOT_")] == ["PILOT_X"]
    assert seen["read"] == "given"


def test_a_bundle_can_be_moved_into_a_path_with_spaces_and_be_linked_to(tree, node, tmp_path):
    moved = tmp_path / "to  another 'place'" / "$HOME"
    moved.parent.mkdir()
    tree.rename(moved)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "once").symlink_to("../twice")
    (tmp_path / "twice").symlink_to(moved / "bin" / "pilot")
    for way in (moved / "bin" / "pilot", tmp_path / "deep" / "once"):
        assert told(way, node)["argv"] == [str(moved / "bin" / "pilot")]


def test_nothing_in_it_tells_where_it_was_made_or_is_of_no_use_on_a_node(pristine):
    tree = pristine
    paths = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    core = "lib/packages/pilot_core-1.0.dist-info"
    assert {f"{core}/METADATA", f"{core}/entry_points.txt", f"{core}/RECORD", "manifest.json"} <= paths
    assert "lib/packages/pilot_core/tests_of_strength/__init__.py" in paths
    unwanted = ("/tests/", "/bin/", ".pyc", "direct_url.json", "INSTALLER", "REQUESTED")
    assert not [path for path in paths if any(word in path for word in unwanted) and not path.startswith("bin/")]
    assert not [path for path in paths if str(tree.parent) in (tree / path).read_text()]
    recorded = [line.split(",")[0] for line in (tree / core / "RECORD").read_text().splitlines()]
    assert [path for path in recorded if f"lib/packages/{path}" not in paths] == []
    assert len(recorded) == 8


def test_the_manifest_names_every_file_and_distribution(pristine):
    tree = pristine
    manifest = json.loads((tree / "manifest.json").read_text())
    paths = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert paths - {*manifest["files"]} == {"manifest.json", "manifest.sha256"}
    assert manifest["size_b"] == sum(size_b for size_b, _ in manifest["files"].values())
    assert manifest["python"] == HERE
    assert [(each["name"], each["version"]) for each in manifest["distributions"]] == [
        ("needed", "1.0"),
        ("pilot-core", "1.0"),
    ]
    checked = subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=tree, capture_output=True, text=True)
    assert checked.stdout == "manifest.json: OK\n"


def test_the_same_wheels_make_the_same_bytes(bundle, wheels):
    first = bundle("pilot-core", to="first.tar.gz")
    for path in wheels.iterdir():
        os.utime(path, (0, 0))
    old = os.umask(0o077)
    try:
        second = bundle("pilot-core", to="second.tar.gz")
    finally:
        os.umask(old)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4), "the time of packing"
    with tarfile.open(first) as tar:
        members = tar.getmembers()
    top = f"pilot-1.0-py{HERE}-manylinux2014_{os.uname().machine}"
    assert members[0].name == top
    modes = {each.name.removeprefix(f"{top}/"): each.mode for each in members}
    assert (modes["bin/pilot"], modes["lib/start.py"], modes["lib"]) == (0o755, 0o644, 0o755)


def test_an_archive_does_not_say_whose_files_they_were(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("")
    if os.geteuid() == 0:
        os.chown(tmp_path / "tree" / "file", 4321, 4321)
    archive(tmp_path / "tree", "top", tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        owners = {(each.name, each.uid, each.gid, each.uname, each.gname) for each in tar.getmembers()}
    assert owners == {("top", 0, 0, "", ""), ("top/file", 0, 0, "", "")}


def test_a_file_of_another_content_has_another_time(tmp_path):
    """Or Python would take a compiled file for current after a newer bundle was unpacked over an older."""
    for name, text in {"a": "1", "b": "2", "c": "1"}.items():
        (tmp_path / name).write_text(text)
    times = {path: time_of(sha256) for path, (_, sha256) in survey(tmp_path).items()}
    assert times["a"] == times["c"] != times["b"]


def test_every_changed_byte_is_named(tree, node):
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and path.stat().st_size):
        content = path.read_bytes()
        name = path.relative_to(tree).as_posix()
        by = "pilot" if name == "bin/pilot-verify" else "pilot-verify"
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = start(tree / "bin" / by, node, PILOT_VERIFY="full")
        path.write_bytes(content)
        assert done.returncode == 1, name
        named = "manifest.json" if name == "manifest.sha256" else name
        assert f"is not whole: {named} " in done.stderr, name
        assert done.stderr.count("\n") == 1
    assert start(tree / "bin" / "pilot-verify", node).stdout.startswith("whole: ")


@pytest.fixture
def older(bundle, node):
    """Starts ``pilot3/pilot.py`` as a wrapper does that unpacked it where it is."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        with tarfile.open(bundle("pilot-core", *words, "--folder", "pilot3", to="pilot3.tar.gz")) as tar:
            tar.extractall(node, filter="data")
        (node / "python3").rename(node / "interpreter")
        line = [node / "interpreter", "pilot3/pilot.py", "-q", "a b"]
        return subprocess.run(line, env={"PATH": str(node)}, cwd=node, capture_output=True, text=True, input="given")

    return call


def test_the_older_pilots_path_starts_it(older, node):
    done = older()
    assert (done.returncode, done.stderr) == (7, "")
    assert json.loads(done.stdout)["argv"] == [str(node / "pilot3" / "bin" / "pilot"), "-q", "a b"]


def test_the_older_pilots_path_looks_for_a_python_that_fits(older):
    done = older("--python", OTHER)
    assert (done.returncode, done.stdout) == (127, "")
    assert f"which python{OTHER} or python3 on PATH is not" in done.stderr


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_the_start_program_itself_may_be_what_is_broken(tree, node, harm):
    harm(tree / "lib" / "start.py")
    done = start(tree / "bin" / "pilot", node)
    assert done.returncode == 1
    assert done.stderr == f"pilot: the bundle in {tree} is not whole: lib/start.py was changed; unpack it anew\n"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.write_text("WORD = 'nee"), "lib/packages/needed.py has 11 bytes instead of 16;"),
        (lambda path: path.unlink(), "lib/packages/needed.py cannot be read: No such file or directory;"),
    ],
)
def test_a_start_names_what_is_cut_short_or_gone(tree, node, harm, words):
    harm(tree / "lib" / "packages" / "needed.py")
    done = start(tree / "bin" / "pilot", node)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"pilot: the bundle in {tree} is not whole: {words} unpack it anew (bin/pilot-verify tells all)\n"
    )


def test_a_start_reads_every_byte_only_if_told_to(tree, node):
    (tree / "lib" / "packages" / "needed.py").write_text("WORD = 'needy!'\n")
    (tree / "lib" / "packages" / "stranger.py").write_text("")
    told(tree / "bin" / "pilot", node)
    done = start(tree / "bin" / "pilot", node, PILOT_VERIFY="full")
    assert "needed.py was changed, and so on with 1 more" in done.stderr
    assert (
        "lib/packages/stranger.py does not belong to the bundle\n" in start(tree / "bin" / "pilot-verify", node).stdout
    )
    assert "the only word for it is full" in start(tree / "bin" / "pilot", node, PILOT_VERIFY="yes").stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2, "files": {}, "machine": "", "libc": []}'])
def test_a_damaged_manifest_is_no_traceback(tree, node, text):
    (tree / "manifest.json").write_text(text)
    for name in ("pilot", "pilot-verify"):
        done = start(tree / "bin" / name, node)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "manifest.json is damaged" in done.stderr


def test_no_changed_byte_of_a_manifest_is_a_traceback(tree):
    sound = (tree / "manifest.json").read_bytes()
    for place in range(0, len(sound), 5):
        (tree / "manifest.json").write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(program.Unfit):
            program.whole(str(tree), program.read(str(tree)), full=True)
    (tree / "manifest.json").write_bytes(sound)
    program.whole(str(tree), program.read(str(tree)), full=True)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"machine": "vax"}, "is for machines of type vax, and this one is "),
        ({"libc": ["glibc", 9, 1]}, "needs glibc 9.1 or newer, and this machine has glibc 2."),
        ({"libc": ["musl", 1, 2]}, "needs musl 1.2 or newer, and this machine has glibc 2."),
    ],
)
def test_a_machine_that_it_is_not_made_for_is_told(tree, node, facts, words):
    manifest = json.loads((tree / "manifest.json").read_text())
    (tree / "manifest.json").write_text(json.dumps(manifest | facts))
    done = start(tree / "bin" / "pilot", node)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr


def test_a_node_without_a_fitting_interpreter_is_told_which_one_is_needed(bundle, node):
    launcher = bundle("pilot-core", "--python", OTHER) / "bin" / "pilot"
    done = start(launcher, node)
    assert (done.returncode, done.stdout) == (127, "")
    way_out = "put one on PATH or name it in PILOT_PYTHON"
    assert done.stderr == (
        f"pilot: this bundle needs CPython {OTHER}, which python{OTHER} or python3 on PATH is not; {way_out}\n"
    )
    assert "which /bin/nothing is not" in start(launcher, node, PILOT_PYTHON="/bin/nothing").stderr
    (node / "python3").unlink()
    assert start(launcher, node).returncode == 127


def test_markers_are_those_of_the_target(bundle, wheels):
    """pip evaluates them for the Python it runs under itself."""
    wheel(wheels, "needed", {"needed.py": ""}, f"Requires-Dist: there; python_version >= '{OTHER}'")
    wheel(wheels, "there", {"there.py": ""})
    assert (bundle("pilot-core", "--python", OTHER) / "lib" / "packages" / "there.py").exists()


def test_extras_and_what_of_ours_is_needed_come_along(pilot, wheels, tmp_path):
    wheel(wheels, "pilot-x", {"pilot_x.py": ""}, "Requires-Dist: pilot_w")
    wheel(wheels, "pilot-w", {"pilot_w.py": ""}, "Requires-Dist: Pilot.Core[more]>=1")
    said = pilot("bundle", "pilot_x", "--from", wheels, "--no-index", "--to", tmp_path / "b.tar.gz", "--json")
    answer = json.loads(said.out)
    assert [each["name"] for each in answer["distributions"]] == ["needed", "pilot-core", "pilot-w", "pilot-x", "rest"]
    assert answer["packed_b"] == (tmp_path / "b.tar.gz").stat().st_size


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pilot-core[moer]"], "pilot-core has no extra 'moer'; did you mean 'more'?; its extras: more"),
        (
            ["pilot-nowhere"],
            "pilot-nowhere is neither in {} nor installed here; name a folder with its wheel by --from",
        ),
        (["needed>=1"], "'needed>=1' is not the name of a distribution"),
        (["pilot-core", "--python", "2.7"], "--python 2.7: not a version such as 3.12"),
        (["pilot-core", "--python", "3.10"], "--python 3.10: pilot-core needs Python >=3.11"),
        (["pilot-core", "--platform", "win_amd64"], "--platform win_amd64: not a platform that a pilot runs on"),
        (["pilot-core", "--from", "nowhere"], "--from nowhere: no such directory"),
        (["pilot-core", "--folder", "a/b", "--to", "b.tar.gz"], "--folder a/b: no name for an archive's folder; name"),
        (["pilot-core", "--folder", "pilot3"], "--folder pilot3: no name for an archive's folder; name one"),
        (["pilot-core", "--to", "."], " is there already; remove it or name another place"),
        (["pilot-core", "--to", "no/where"], "no, where the bundle shall go, is no directory"),
    ],
)
def test_what_can_not_be_is_one_sentence(pilot, wheels, words, sentence):
    said = pilot("bundle", "--to", "bundle", "--no-index", "--from", wheels, *words)
    assert said.code == 2
    assert sentence.format(wheels) in said.err
    assert not Path("bundle").exists()


def test_a_stranger_of_our_name_does_not_get_in(pilot, wheels, tmp_path):
    """Not even by what a library needs."""
    wheel(wheels, "needed", {"needed.py": ""}, "Requires-Dist: pilot-stranger")
    wheel(wheels, "pilot-stranger", {"pilot_stranger.py": ""})
    said = pilot("bundle", "pilot-core", "--from", wheels, "--no-index", "--to", tmp_path / "bundle")
    assert "something needs pilot-stranger, which is taken by path only" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["wheels"]


@pytest.fixture
def index(monkeypatch):
    """An index that has nothing, and remembers what it was asked for."""
    asked = []

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            """Be quiet."""

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://us:word@127.0.0.1:{server.server_port}/simple")
        threading.Thread(target=server.serve_forever).start()
        yield asked
        server.shutdown()


def test_an_index_is_not_asked_for_what_is_ours(pilot, wheels, index, tmp_path):
    wheel(wheels, "pilot-x", {"pilot_x.py": ""}, "Requires-Dist: pilot-core[more]")
    said = pilot("bundle", "pilot-x", "--from", wheels, "--to", tmp_path / "bundle")
    assert said.code == 0, said.err
    assert {*index} == {"/simple/needed/", "/simple/rest/"}


def test_two_wheels_of_one_name_are_not_chosen_from(pilot, wheels, tmp_path):
    wheel(wheels, "pilot-core", CORE, version="2.0")
    said = pilot("bundle", "pilot-core", "--from", wheels, "--no-index", "--to", tmp_path / "bundle")
    assert "there are 2 wheels of pilot-core: " in said.err
    (wheels / "pilot_core-2.0-py3-none-any.whl").unlink()
    (wheels / "pilot_core-1.0-py3-none-any.whl").write_text("no zip")
    said = pilot("bundle", "pilot-core", "--from", wheels, "--no-index", "--to", tmp_path / "bundle")
    assert "pilot_core-1.0-py3-none-any.whl is no wheel that can be read" in said.err


def test_a_wheel_for_another_machine_is_refused(pilot, wheels, tmp_path):
    made = wheel(wheels, "pilot-z", {"pilot_z.py": ""})
    made.rename(made.with_name(f"pilot_z-1.0-cp{HERE.replace('.', '')}-abi3-manylinux_2_17_vax.whl"))
    said = pilot("bundle", "pilot-z", "--from", wheels, "--no-index", "--to", tmp_path / "bundle")
    assert "_vax.whl is not a supported wheel on this platform" in said.err


def test_what_pip_says_is_passed_on(pilot, wheels, tmp_path):
    (wheels / "needed-1.0-py3-none-any.whl").unlink()
    said = pilot("bundle", "pilot-core", "--from", wheels, "--no-index", "--to", tmp_path / "bundle")
    assert said.code == 2
    assert "bundle: pip install failed: " in said.err
    assert "No matching distribution found for needed>=1" in said.err


@pytest.fixture
def installed(wheels, tmp_path, monkeypatch):
    """A distribution as an installer leaves it, importable here."""
    place = tmp_path / "installed"
    made = wheel(
        wheels, "pilot-y", {"pilot_y/__init__.py": "", "pilot_y/data, all.txt": "data"}, "Requires-Dist: needed"
    )
    with ZipFile(made) as packed:
        packed.extractall(place)
    (place / "pilot_y" / "__init__.py").chmod(0o755)
    (place / "pilot_y" / "__pycache__").mkdir()
    for more in ("pilot_y/__pycache__/x.pyc", "pilot_y-1.0.dist-info/INSTALLER", "pilot_y-1.0.dist-info/REQUESTED"):
        (place / more).write_text("pip")
        with (place / "pilot_y-1.0.dist-info" / "RECORD").open("a") as record:
            record.write(f"{more},,\n../../bin/pilot-y,,\n")
    monkeypatch.syspath_prepend(place)
    return place


def test_a_wheel_is_made_of_what_is_installed(installed, wheels, tmp_path):
    (tmp_path / "again").mkdir()
    made = wheel_of(distribution("pilot-y"), tmp_path, [])
    again = wheel_of(distribution("pilot-y"), tmp_path / "again", [])
    assert made.name == "pilot_y-1.0-py3-none-any.whl"
    assert made.read_bytes() == again.read_bytes()
    with ZipFile(made) as ours:
        assert {entry.date_time[0] for entry in ours.infolist()} == {1980}
    with ZipFile(made) as ours, ZipFile(wheels / made.name) as theirs:
        record = "pilot_y-1.0.dist-info/RECORD"
        assert sorted(ours.namelist()) == sorted(theirs.namelist())
        assert {n: ours.read(n) for n in ours.namelist() if n != record} == {
            n: theirs.read(n) for n in theirs.namelist() if n != record
        }
        assert (
            '"pilot_y/data, all.txt",sha256=Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc,4' in ours.read(record).decode()
        )


def test_an_installed_distribution_can_be_bundled(installed, bundle, wheels):
    (wheels / "pilot_y-1.0-py3-none-any.whl").unlink()
    package = bundle("pilot-y") / "lib" / "packages" / "pilot_y"
    assert (package / "data, all.txt").read_text() == "data"
    modes = {path.name: path.stat().st_mode & 0o777 for path in package.iterdir()}
    assert modes == {"__init__.py": 0o755, "data, all.txt": 0o644}


def test_an_installed_file_that_was_changed_is_not_bundled(installed, tmp_path):
    (installed / "pilot_y" / "data, all.txt").write_text("other")
    with pytest.raises(Usage, match=r"data, all.txt was changed after pilot-y was installed; install it anew"):
        wheel_of(distribution("pilot-y"), tmp_path, [])
    (installed / "pilot_y" / "data, all.txt").unlink()
    with pytest.raises(Usage, match=r"data, all.txt of pilot-y cannot be read: No such file"):
        wheel_of(distribution("pilot-y"), tmp_path, [])


def test_an_editable_install_whose_source_is_gone_is_told(installed, tmp_path):
    info = installed / "pilot_y-1.0.dist-info" / "direct_url.json"
    info.write_text(json.dumps({"url": "file:///no%20where", "dir_info": {"editable": True}}))
    with pytest.raises(Usage, match="pilot-y is installed from /no where, which is gone"):
        wheel_of(distribution("pilot-y"), tmp_path, [])


def test_a_target_takes_the_wheels_of_older_c_libraries():
    assert Target.read("3.12", "manylinux2014_x86_64").tags()[:2] == ["manylinux_2_17_x86_64", "manylinux_2_16_x86_64"]
    newer = Target.read("3.12", "manylinux_2_28_aarch64").tags()
    assert {"manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= {*newer}
    assert "manylinux2014_x86_64" not in Target.read("3.12", "manylinux2010_x86_64").tags()
    musl = Target.read("3.13", "musllinux_1_2_x86_64").tags()
    assert musl == ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "musllinux_1_0_x86_64"]


def test_a_manifest_does_not_depend_on_the_order_of_what_it_is_made_of():
    target, files = Target.read("3.12", "manylinux2014_x86_64"), {"a": (1, "0f"), 'b"\n': (2, "1f")}
    first = Manifest(target, [Packed("x", "1", "2f")], files)
    second = Manifest(target, [Packed("x", "1", "2f")], dict(reversed(files.items())))
    assert first.digest == second.digest
    assert json.loads(first.text())["files"] == {"a": [1, "0f"], 'b"\n': [2, "1f"]}
    assert json.loads(Manifest(target, [], {}).text())["distributions"] == []

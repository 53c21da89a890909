import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pilot_core.io.inside as inside_module
from pilot_core.io.inside import Inside, Outside, give_name


@pytest.fixture
def outside(tmp_path):
    """What nothing may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("untouched")
    yield folder
    assert os.listdir(folder) == ["secret"]
    assert (folder / "secret").read_text() == "untouched"


@pytest.fixture
def job(tmp_path, outside):
    """A job's directory as a hostile payload leaves it."""
    root = tmp_path / "job"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "out.root").write_text("data")
    (root / "log").write_text("log")
    (root / ".hidden").write_text("")
    (root / "up").symlink_to("..")
    (root / "abs").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "loop").symlink_to("loop")
    (root / "inner").symlink_to("a")
    os.link(outside / "secret", root / "hard")
    os.mkfifo(root / "pipe")
    with Inside(root) as job:
        yield job


ESCAPES = [
    "/etc/passwd",
    "..",
    "../outside/secret",
    "a/../../outside/secret",
    "up/outside/secret",
    "abs/secret",
    "a\0",
]


@pytest.mark.parametrize("path", [*ESCAPES, "inner/b/out.root", "loop/x"])
def test_no_operation_leaves_the_directory(job, path):
    for operation in (job.open_read, job.open_write, job.stat, job.names, job.makedirs, job.remove):
        with pytest.raises(Outside, match="is refused in") as caught:
            operation(path)
        assert caught.value.path == path
    with pytest.raises(Outside):
        job.rename("log", path)
    with pytest.raises(Outside):
        job.rename(path, "log")
    with pytest.raises(Outside):
        job.remove_tree(path)


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../outside/*"])
def test_a_pattern_that_leaves_is_refused_by_name(job, pattern):
    with pytest.raises(Outside) as caught:
        job.glob(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("path", ["file", "loop", "inner", "abs"])
def test_a_link_is_never_read_through(job, path):
    with pytest.raises(Outside, match=f"'{path}' is a link"):
        job.open_read(path)
    with pytest.raises(Outside):
        job.names(path)


def test_a_pipe_neither_blocks_nor_passes_for_a_file(job):
    for path in ("pipe", "a"):
        with pytest.raises(Outside, match="not a regular file"):
            job.open_read(path)


@pytest.mark.parametrize("path", ["file", "hard", "loop", "log"])
def test_writing_makes_a_new_file_whatever_stood_there(job, path):
    with job.open_write(path) as file:
        file.write(b"new")
    with job.open_read(path) as file:
        assert file.read() == b"new"


def test_the_ordinary_works(job):
    job.makedirs("x/y/z")
    job.makedirs("x/y/z")
    with job.open_write("x/y/z/f", mode=0o600) as file:
        file.write(b"four")
    assert job.stat("x/y/z/f").st_size == 4
    assert job.stat("x/y/z/f").st_mode & 0o777 == 0o600
    job.rename("x/y/z/f", "g")
    assert job.exists("g")
    assert not job.exists("x/y/z/f")
    assert not job.exists("log/below")
    assert job.exists("loop")
    job.remove("g")
    assert not job.exists("g")
    assert job.names("a/./b/") == ["out.root"]


def test_what_is_missing_or_in_the_way_is_named(job):
    with pytest.raises(FileNotFoundError, match="job/a/none"):
        job.open_read("a/none")
    with pytest.raises(NotADirectoryError, match="job/log/x"):
        job.makedirs("log/x")
    with pytest.raises(Outside, match="the directory itself"):
        job.remove("./")


def test_the_root_may_not_be_a_link(tmp_path, outside):
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        Inside(tmp_path / "link")


def test_a_root_that_is_replaced_by_a_link_is_not_followed(tmp_path, job, outside):
    job.root.rename(tmp_path / "moved")
    job.root.symlink_to(outside)
    assert "log" in job.names()
    assert job.remove_tree() == [f"{job.root}: Not a directory"]
    assert os.listdir(tmp_path / "moved") == []


GLOBS = {
    "*": ["a", "abs", "file", "hard", "inner", "log", "loop", "pipe", "up"],
    "l*": ["log", "loop"],
    ".h*": [".hidden"],
    "*/*/*.root": ["a/b/out.root"],
    "a/b/out.????": ["a/b/out.root"],
    "**/*.root": ["a/b/out.root"],
    "a/**": ["a/b", "a/b/out.root"],
    "**/b/**/*.root": ["a/b/out.root"],
    "[fg]ile": ["file"],
    "abs/*": [],
    "none/*": [],
    "./log": ["log"],
}


@pytest.mark.parametrize("pattern", GLOBS)
def test_patterns(job, pattern):
    assert job.glob(pattern) == GLOBS[pattern]


def test_walking_yields_regular_files_and_their_sizes(job):
    assert {path: about.st_size for path, about in job.walk()} == {
        "a/b/out.root": 4,
        "log": 3,
        ".hidden": 0,
        "hard": len("untouched"),
    }
    assert [path for path, _ in job.walk("a")] == ["a/b/out.root"]
    assert list(job.walk("abs")) == []


def test_removing_takes_the_links_and_leaves_what_they_point_to(job):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(job.root / "s"))
    assert job.remove_tree() == []
    assert not job.root.exists()


def test_a_part_may_be_removed(job):
    assert job.remove_tree("a") == []
    assert job.remove_tree("abs") == []
    assert job.remove_tree("none/below") == []
    assert job.remove_tree("a") == []
    assert not {"a", "abs"} & set(job.names())
    assert job.exists("log")


@given(
    tree=st.recursive(
        st.sampled_from(["file", "link", "closed"]),
        lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        max_leaves=15,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_tree_goes_and_nothing_else(tmp_path_factory, tree):
    """server:I7"""
    base = tmp_path_factory.mktemp("t")
    (base / "keep").mkdir()
    (base / "keep" / "f").touch()
    plant(base / "job", {"top": tree})
    with Inside(base / "job") as job:
        assert job.remove_tree() == []
    assert sorted(os.listdir(base)) == ["keep"]
    assert os.listdir(base / "keep") == ["f"]


def plant(path, tree):
    if isinstance(tree, dict):
        path.mkdir()
        for name, below in tree.items():
            plant(path / name, below)
    elif tree == "file":
        path.touch(mode=0)
    elif tree == "link":
        path.symlink_to("/".join([".."] * 3) + "/keep")
    else:
        path.mkdir(mode=0)


@contextmanager
def nobody():
    """The superuser may do everything, so what permissions forbid is tried as somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_directories_closed_to_their_owner_go_too():
    with nobody():
        base = Path(tempfile.mkdtemp())
        (base / "job" / "a" / "b").mkdir(parents=True)
        (base / "job" / "a" / "b" / "f").touch()
        for path in ("a/b", "a", "."):
            (base / "job" / path).chmod(0)
        with pytest.raises(PermissionError):
            os.listdir(base / "job")
        with Inside(base / "job") as job:
            assert list(job.walk()) == []
            assert job.remove_tree() == []
        base.rmdir()


def test_no_depth_is_too_deep(tmp_path):
    (tmp_path / "job").mkdir()
    fd = os.open(tmp_path / "job", os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 90
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        with Inside(tmp_path / "job") as job:
            assert list(job.walk()) == []
            assert job.remove_tree() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        left = os.listdir(tmp_path)
        subprocess.run(["rm", "-rf", tmp_path / "job"])  # pytest's own clean-up is not up to it
    assert left == []


MOUNTED = """
import subprocess, sys
from pathlib import Path
from pilot_core.io.inside import Inside
base = Path(sys.argv[1])
for name, kind in (("tmpfs", ["-t", "tmpfs", "none"]), ("bind", ["--bind", base / "outside"])):
    (base / "job" / "a" / name).mkdir(parents=True)
    subprocess.run(["mount", *kind, base / "job" / "a" / name], check=True)
(base / "job" / "a" / "tmpfs" / "mounted").touch()
(base / "job" / "file").touch()
with Inside(base / "job") as job:
    print([path for path, _ in job.walk() if "mounted" in path])
    print(*job.remove_tree(), sep="\\n")
print(*base.glob("job/*/tmpfs/*"))
"""


def may_mount():
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") and subprocess.run(tried, capture_output=True).returncode == 0


def test_what_is_mounted_inside_is_left_alone(tmp_path, outside):
    if not may_mount():
        pytest.skip("this machine lets nobody mount in a namespace of their own")
    core = Path(inside_module.__file__).parents[2]
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", MOUNTED, tmp_path],
        env={**os.environ, "PYTHONPATH": str(core)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    walked, *left, survivor = done.stdout.splitlines()
    assert walked == "[]"
    assert [line for line in left if "mounted there" in line] == ["a/tmpfs: another file system is mounted there"]
    assert any(line.startswith("a/bind: ") for line in left)
    assert survivor.endswith("/tmpfs/mounted")
    assert not (tmp_path / "job" / "file").exists()


def test_what_will_not_go_is_named(job, monkeypatch):
    unlink = os.unlink

    def refuse(path, *, dir_fd=None):
        if path == "out.root":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    assert job.remove_tree() == [
        "a/b/out.root: Operation not permitted",
        "a/b: Directory not empty",
    ]
    assert len(job.names()) == 1


def test_a_descriptor_is_all_it_holds(job):
    before = os.listdir("/proc/self/fd")
    job.glob("**/*")
    list(job.walk())
    with pytest.raises(Outside):
        job.open_read("abs/secret")
    with pytest.raises(Outside):
        job.open_read("pipe")
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="knows no files without names")
def test_a_file_without_a_name_leaves_nothing_until_it_gets_one(job):
    before = job.names("a")
    folder = job.open_folder("a")
    try:
        with job.open_unnamed("a") as file:
            file.write(b"lost")
        assert job.names("a") == before
        with job.open_unnamed("a") as file:
            file.write(b"kept")
            file.flush()
            give_name(file, folder, "new")
            with pytest.raises(FileExistsError):
                give_name(file, folder, "b")
    finally:
        os.close(folder)
    with job.open_read("a/new") as file:
        assert file.read() == b"kept"


@pytest.mark.parametrize("path", ESCAPES)
def test_no_file_without_a_name_is_made_outside(job, path):
    for call in (job.open_unnamed, job.open_folder):
        with pytest.raises(OSError, match=r"refused|No such file|is a link"):
            call(path)

"""What is hidden from the processes of a job: credentials wherever they are named, never the job's own directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.hidden import Hidden
from pilot_core.model.job import Job


@pytest.fixture(autouse=True)
def _none_found(monkeypatch):
    for name in ("X509_USER_PROXY", "OIDC_AUTH_TOKEN", "PANDA_AUTH_TOKEN", "PANDA_AUTH_TOKEN_KEY"):
        monkeypatch.delenv(name, raising=False)


class Node:
    """A work directory with one job in it, and files by their names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work, self.own = root / "work", root / "work/pilot.control"
        self.job = self.folder("work/PanDA_Pilot-1")
        self.folder("work/pilot.control")
        self.folder("work/PanDA_Pilot-1.control")

    def folder(self, name: str) -> Path:
        (self.root / name).mkdir(parents=True)
        return self.root / name

    def file(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        return path

    def hides(self, env=None, job_env=None, home="nowhere", **sections) -> set[str]:
        settings = Schema(CORE).merge(Layer(Rank.SITE, "the test", sections))
        hidden = Hidden(self.own, settings, self.root / home)
        first, *others = hidden.of(Job(id="1", environment=job_env or {}), self.job, env or {})
        assert first == str(self.own)
        return {str(Path(path).relative_to(self.root)) for path in others if "x509up" not in path}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_other_jobs_are_hidden_until_they_are_over(node):
    node.folder("work/PanDA_Pilot-2")
    node.folder("work/PanDA_Pilot-2.control")
    node.folder("work/PanDA_Pilot-3.control")
    node.folder("work/pilot")
    node.folder("work/data")
    assert node.hides() == {"work/PanDA_Pilot-2", "work/PanDA_Pilot-2.control"}


def test_files_that_options_name_are_hidden_and_the_folder_of_those_that_are_alone(node):
    node.file("etc/other")
    options = {"token": node.file("etc/token"), "token_key": node.file("alone/key"), "proxy": node.file("alone/proxy")}
    connection = {name: str(path) for name, path in options.items()} | {"origin": "vo", "ca_file": str(node.file("ca"))}
    assert node.hides(connection=connection) == {"etc/token", "alone"}


def test_the_home_that_a_token_or_a_join_file_lies_in_is_hidden_whole(node):
    token = node.file("home/tokens/run")
    node.file("home/server.yaml")
    assert node.hides(connection={"token": str(token)}) == {"home"}
    assert node.hides(connection={"join": str(node.file("home/join"))}) == {"home"}
    assert node.hides(home="home") == {"home"}


def test_what_its_environment_names_is_meant_for_it_unless_the_job_said_so(node):
    proxy, env = node.file("etc/proxy"), {"PROXY": str(node.root / "etc/proxy")}
    node.file("etc/other")
    connection = {"proxy": str(proxy)}
    assert node.hides(env, connection=connection) == set()
    assert node.hides(env, env, connection=connection) == {"etc/proxy"}


def test_of_a_folder_above_the_job_all_else_is_hidden(node):
    node.file("work/data")
    node.file("beside")
    all_else = {"beside", "work/data", "work/PanDA_Pilot-1.control"}
    assert node.hides(payload={"hidden": [str(node.root)]}) == all_else


def test_what_lies_in_the_jobs_directory_is_its_own_and_what_is_not_there_is_nothing(node):
    mine = node.file("work/PanDA_Pilot-1/proxy")
    assert node.hides(payload={"hidden": [str(mine), str(node.job), str(node.root / "gone")]}) == set()


def test_a_link_hides_what_it_leads_to(node):
    (node.root / "link").symlink_to(node.file("etc/token"))
    assert node.hides(payload={"hidden": [str(node.root / "link")]}) == {"etc/token"}


def test_what_the_pilots_user_cannot_reach_needs_no_cover(node, monkeypatch):
    look = os.stat

    def stat(path, **how):
        if str(path).endswith("var/home"):
            raise PermissionError(errno.EACCES, "no leave", str(path))
        return look(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        assert node.hides(home="var/home") == set()

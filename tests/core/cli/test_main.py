"""The table of commands and the guard around them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from pilot_core.cli import main as program
from pilot_core.cli.mistakes import EXIT_CODES
from pilot_core.config.layers import ConfigError, Problem
from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import Guard, PluginRef

NAMES = [name for group in program.COMMANDS.values() for name in group]


def test_the_overview_lists_every_command(pilot):
    for asked in ((), ("--help",), ("-h",), ("help",)):
        said = pilot(*asked)
        assert said.code == 0
        assert all(f"  {name} " in said.out for name in NAMES)


def test_the_version_is_that_of_the_core(pilot):
    assert pilot("--version").out.startswith("pilot 0.")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_that_begins_with_its_line_in_the_overview(capsys, name):
    with pytest.raises(SystemExit) as left:
        program.main(["help", name])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: pilot {name} ")
    assert program._helps()[name] in " ".join(said.split())


def test_only_the_module_of_the_command_is_imported():
    """And no library: a command line that is only read costs next to nothing."""
    listing = "import sys; from pilot_core.cli.main import main; main(['errors', '1305']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = run.stdout.splitlines()[-1].split()
    others = {f"pilot_core.cli.{program.SHARED.get(name, name.replace('-', '_'))}" for name in NAMES}
    assert others & {*loaded} == {"pilot_core.cli.errors"}
    assert not {"pluggy", "stevedore", "requests", "psutil", "yaml", "importlib.metadata", "logging.config"} & {*loaded}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statu"], "no command 'statu'; did you mean 'status'?"),
        (["--versio"], "no option '--versio'; did you mean '--version'?"),
        (["help", "erors"], "no command 'erors'; did you mean 'errors'?"),
        (["xyzzy"], "no command 'xyzzy'\n"),
        (["run", "--jbo", "x"], "run: no option --jbo; did you mean '--job'?"),
        (["run", "--quue=X"], "run: no option --quue; did you mean '--queue'?"),
        (["run", "--work", "x"], "run: no option --work"),
        (["run", "--job"], "run: --job: expected one argument"),
        (["status", "a", "b"], "status: one argument too many: 'b'"),
        (["plugins", "dctor"], "'dctor' is not list or doctor; did you mean 'doctor'?"),
        (["config", "shwo"], "'shwo' is not show or check; did you mean 'show'?"),
    ],
)
def test_a_mistake_names_what_was_meant(pilot, words, said):
    found = pilot(*words)
    assert found.code == 2
    assert said in found.err
    assert "see `pilot" in found.err
    assert all(line.startswith("pilot: ") for line in found.err.splitlines())


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_mistake_in_the_table_exists(name):
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(import_module(module), kind), Exception)


def failing(monkeypatch, error: BaseException):
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(program, "_dispatch", fail)


def test_all_problems_of_a_configuration_are_told(pilot, monkeypatch):
    failing(monkeypatch, ConfigError(Problem("f", "a.b", "no such option"), Problem("f", "a.c", "wants text")))
    said = pilot("config")
    assert (said.code, said.err) == (2, "pilot: f: a.b: no such option\npilot: f: a.c: wants text\n")


def test_an_error_of_the_start_has_its_exit_code_and_its_advice(pilot, monkeypatch):
    failing(monkeypatch, PilotError(Code.PANDAQUEUENOTACTIVE, "queue X"))
    said = pilot("run")
    assert said.code == 78
    assert said.err.splitlines() == [
        f"pilot: 1359 PANDAQUEUENOTACTIVE: {Code.PANDAQUEUENOTACTIVE.sentence}: queue X",
        f"pilot: {Code.PANDAQUEUENOTACTIVE.retry.value}",
    ]


def test_a_file_that_cannot_be_used_is_named(pilot, monkeypatch, tmp_path):
    try:
        (tmp_path / "not" / "there").open()
    except OSError as missing:
        failing(monkeypatch, missing)
    said = pilot("config")
    assert (said.code, said.err) == (1, f"pilot: {tmp_path}/not/there: No such file or directory\n")


def test_a_defect_is_one_line_without_secrets_and_a_traceback_only_for_who_asks(pilot, monkeypatch):
    failing(monkeypatch, ValueError("token=abcdefgh\nis odd"))
    said = pilot("run")
    assert said.code == 70
    assert len(said.err.splitlines()) == 1
    assert "internal error: ValueError: token=***" in said.err
    assert "test_main.py:" in said.err
    assert "please report it" in said.err
    traced = pilot("run", "--debug").err
    assert "Traceback" in traced
    assert "abcdefgh" not in traced


def test_a_defect_of_a_core_plugin_is_the_cores_and_of_another_its_own(pilot, monkeypatch):
    for distribution, code in (("pilot-core", 70), ("pilot-else", 1)):
        plugin = PluginRef("standard", distribution, "1.0")
        monkeypatch.setattr(program, "_dispatch", partial(Guard().call, plugin, "drive", int))
        said = pilot("run", "no number")
        assert said.code == code
        assert ("internal error: TypeError" in said.err) == (code == 70)
        assert ("plugin standard (pilot-else 1.0) failed in drive" in said.err) == (code == 1)


def test_ctrl_c_before_the_pilot_runs(pilot, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    assert pilot("run").code == 130


def test_a_reader_that_leaves_ends_the_command_quietly():
    """As in ``pilot errors | head -1``."""
    reader, writer = os.pipe()
    with open(writer, "w") as end:
        os.close(reader)
        ran = subprocess.run([sys.executable, "-m", "pilot_core", "hooks"], stdout=end, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_the_manual_has_every_command():
    manual = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
    assert [name for name in NAMES if f"`pilot {name}" not in manual] == []

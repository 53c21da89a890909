"""``pilot config`` and ``pilot plugins``."""

from __future__ import annotations

import json

import pytest

from pilot_core.cli import OWN
from pilot_core.io.join import Join
from pilot_core.testing.server import PilotServer

SITE = "pilot: {lifetime_s: 2 h}\ndata: {attempts: 5}\n"


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def rows(said):
    return {row["path"]: row for row in json.loads(said.out)}


def test_every_source_is_named(pilot, site, monkeypatch):
    monkeypatch.setenv("PILOT_MONITOR_SAMPLE_S", "7")
    found = rows(pilot("config", "show", "--json", "--config", site, "--queue", "Q", "--set", "data.attempts=6"))
    assert (found["pilot.lifetime_s"]["value"], found["pilot.lifetime_s"]["layer"]) == ("7200.0", "site")
    assert found["pilot.lifetime_s"]["where"] == str(site)
    assert (found["data.attempts"]["value"], found["data.attempts"]["layer"]) == ("6", "command line")
    assert (found["pilot.queue"]["value"], found["pilot.queue"]["layer"]) == ("Q", "command line")
    assert (found["monitor.sample_s"]["value"], found["monitor.sample_s"]["where"]) == (
        "7.0",
        "$PILOT_MONITOR_SAMPLE_S",
    )
    assert found["data.parallel"]["layer"] == "defaults"


def test_settings_are_shown_with_or_without_their_sources(pilot, site):
    plain = pilot("config", "show", "--config", site).out.splitlines()
    told = pilot("config", "show", "--sources", "--config", site).out.splitlines()
    assert plain[0].split() == ["OPTION", "VALUE"]
    assert told[0].split() == ["OPTION", "VALUE", "FROM", "WHERE"]
    assert len(plain) == len(told) > 40
    assert [line.split() for line in told if "data.attempts" in line] == [["data.attempts", "5", "site", str(site)]]


def test_the_facts_of_the_queue_are_told_with_who_told_them(pilot, site, tmp_path):
    queues, storages = tmp_path / "queues.yaml", tmp_path / "storages.yaml"
    queues.write_text("Q: {maxrss: 2000, params: {pilot_rss_grace: 10}, astorages: {pw: [DISK]}}\n")
    storages.write_text("DISK: {arprotocols: {write_lan: [{endpoint: 'davs://h', path: /d}]}}\n")
    words = ["--queue", "Q", "--set", f"queue_file.path={queues}", "--set", f"queue_file.storages={storages}"]
    found = rows(pilot("config", "show", "--json", "--sources", *words))
    assert found["queue.maxrss"] == {
        "path": "queue.maxrss", "value": "2000", "source": "file", "document": str(queues), "age_s": None,
        "note": "",
    }  # fmt: skip
    assert found["queue.params.pilot_rss_grace"]["value"] == "10"
    assert found["storage.DISK.write"]["value"] == '["davs://h/d"]'
    assert found["storage.DISK.write"]["document"] == str(storages)
    options, facts = pilot("config", "show", "--sources", *words).out.split("\n\n")
    assert options.splitlines()[0].split() == ["OPTION", "VALUE", "FROM", "WHERE"]
    lines = [line.split() for line in facts.splitlines()]
    assert lines[0] == ["FACT", "SOURCE", "DOCUMENT", "AGE", "NOTE", "VALUE"]
    assert ["queue.maxrss", "file", str(queues), "-", "-", "2000"] in lines
    assert "queue.maxrss" not in rows(pilot("config", "show", "--json", *words))


def test_a_relative_path_means_one_from_here(pilot, tmp_path):
    (tmp_path / "mine.py").write_text("")
    found = rows(pilot("config", "show", "--json", "--pilotfile", "mine.py"))
    assert found["bootstrap.pilotfile"]["value"] == str(tmp_path / "mine.py")


def test_a_good_file_is_said_to_be_good(pilot, site):
    said = pilot("config", "check", site)
    assert (said.code, said.out, said.err) == (0, f"{site}: 2 options, no faults\n", "")
    assert json.loads(pilot("config", "check", site, "--json").out) == {
        "file": str(site),
        "options": 2,
        "warnings": [],
    }


def test_all_faults_of_a_file_are_told_at_once(pilot, site):
    site.write_text("pilot: {lifetme_s: 5}\ndata: {attempts: many}\nelsewhere: {a: 1}\n")
    said = pilot("config", "check", site)
    assert said.code == 2
    assert f"{site}: pilot.lifetme_s: no such option; did you mean 'lifetime_s'?" in said.err
    assert f"{site}: data.attempts: wants a whole number, not 'many'" in said.err


def test_a_section_of_a_plugin_that_is_not_here_is_worth_a_warning(pilot, site):
    site.write_text("elsewhere: {a: 1}\n")
    said = pilot("config", "check", site)
    assert said.code == 0
    assert "pilot: warning: " in said.err
    assert "elsewhere" in said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [("a: [", "line 1, column 5"), ("- a", "wants a mapping"), ("pilot: 5", "wants a mapping of options")],
)
def test_a_file_that_is_none(pilot, site, text, why):
    site.write_text(text)
    said = pilot("config", "check", site)
    assert said.code == 2
    assert str(site) in said.err
    assert why in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["config", "check"], "check wants a FILE"),
        (["config", "show", "x"], "show takes no FILE; did you mean --config?"),
        (["config", "show", "--config", "missing.yaml"], "missing.yaml: No such file or directory"),
        (["config", "show", "--set", "data.atempts=3"], "data.atempts: no such option; did you mean 'attempts'?"),
        (["config", "show", "--workflow", "standrad"], "did you mean 'standard'?"),
        (["config", "show", "--experiment", "genric"], "did you mean 'generic'?"),
    ],
)
def test_mistakes(pilot, words, why):
    said = pilot(*words)
    assert said.code == 2
    assert why in said.err


def test_installed_plugins_and_drivers_are_listed(pilot):
    found = {(row["kind"], row["name"]): row for row in json.loads(pilot("plugins", "--json").out)["plugins"]}
    generic = found["experiment", "generic"]
    assert (generic["distribution"], generic["state"], generic["used"]) == ("pilot-core", "loaded", True)
    assert "pilot_payload_command" in generic["hooks"]
    assert found["workflow", "standard"]["used"]
    assert not found["workflow", "stagein"]["used"]
    lines = pilot("plugins", "list").out.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "HOOKS"]
    assert len(lines) == len(found) + 1


def test_the_doctor_says_what_would_be_used(pilot):
    said = pilot("plugins", "doctor")
    assert said.code == 0
    assert said.out.startswith("a pilot would start here\n")
    assert any(line.split() == ["used", "communicator", "filebox", "loaded"] for line in said.out.splitlines())


def test_the_doctor_says_why_no_pilot_would_start_and_still_lists(pilot):
    said = pilot("plugins", "doctor", "--workflow", "standrad")
    assert said.code == 1
    assert "no pilot would start here:\n  workflow 'standrad': not installed; did you mean 'standard'?" in said.out
    assert "generic" in said.out
    told = json.loads(pilot("plugins", "doctor", "--workflow", "standrad", "--json").out)
    assert len(told["problems"]) == 1
    assert not any(row["used"] for row in told["plugins"])


def test_a_plugin_that_is_named_and_not_there_is_warned_about(pilot):
    said = pilot("plugins", "doctor", "--plugin", "no:noisy")
    assert said.code == 0
    assert "warning: no plugin 'noisy' is installed" in said.out


# --- what a pilot here would go by ------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    with PilotServer(tmp_path / "server") as server:
        yield server


def by_join(server, tmp_path):
    join = Join(server.url, server.token().read_text().strip(), server.fingerprint, "local")
    (tmp_path / "join").write_text(join.text())
    return "--join", tmp_path / "join"


def by_url(server, _):
    return "--url", server.url, "--token-file", server.token(), "--fingerprint", server.fingerprint


@pytest.mark.parametrize("named", [by_join, by_url])
def test_the_facts_of_the_queue_are_those_that_a_pilot_would_be_told(pilot, server, tmp_path, named):
    """The same server, shown the same token; and nothing is written where that pilot would write."""
    words = named(server, tmp_path)
    said = pilot("config", "show", "--sources", "--json", *words, "--workdir", tmp_path / "w")
    found = rows(said)
    assert found["queue.status"]["source"] == "server"
    assert server.url in found["queue.status"]["document"]
    assert found["connection.url"]["value"] == server.url
    own = tmp_path / "w" / OWN
    assert found["connection.token"]["value"] == str(server.token() if named is by_url else own / "token")
    for place in ("cache", "renewed"):
        assert found[f"connection.{place}_dir"]["value"] == str(own / place)
    assert not (tmp_path / "w").exists()


def test_a_pilot_and_who_asks_what_it_would_do_hear_the_same_of_an_unknown_queue(pilot, server, tmp_path):
    """The nearest name is the server's to know, and nobody is told to try again."""
    words = *by_url(server, tmp_path), "--queue", "locl"
    asked, ran = pilot("config", "show", *words), pilot("run", "--plain", *words)
    for said in (asked, ran):
        assert said.code == 71
        assert "has no queue 'locl'; it says: no queue 'locl' is served here; did you mean 'local'?" in said.err
        assert "do not try again as it is" in said.err
        assert "this usually passes" not in said.err


def test_a_queue_that_is_offline_is_refused_by_both(pilot, tmp_path):
    with PilotServer(tmp_path / "server", config={"queues": {"Q": {"status": "offline"}}}) as server:
        words = *by_url(server, tmp_path), "--queue", "Q"
        for said in (pilot("config", "show", *words), pilot("run", "--plain", *words)):
            assert "queue Q is offline, says server" in said.err


def test_of_a_closed_queue_all_is_shown_and_then_why_it_is_closed(pilot, tmp_path):
    (tmp_path / "queues.yaml").write_text("Q: {status: offline, maxrss: 5}\n")
    words = ["--queue", "Q", "--set", f"queue_file.path={tmp_path / 'queues.yaml'}"]
    said = pilot("config", "show", "--sources", *words)
    assert said.code == 83
    assert [line.split()[-1] for line in said.out.splitlines() if line.startswith("queue.")] == ["5", "offline"]
    assert "queue Q is offline, says file" in said.err
    assert rows(pilot("config", "show", "--json", "--sources", *words))["queue.status"]["value"] == "offline"


def test_settings_are_shown_where_nothing_says_who_has_the_work(pilot, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOT_SERVER_HOME", str(tmp_path / "nobody"))
    assert rows(pilot("config", "show", "--json"))["pilot.communicator"]["value"] == "filebox"
    said = pilot("config", "show", "--home", tmp_path / "nobody")
    assert (said.code, "nobody" in said.err) == (69, True)

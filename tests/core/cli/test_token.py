"""``pilot token``."""

from __future__ import annotations

import json
import stat

import pytest
import requests

from pilot_core.dispatcher.serve import Dispatcher
from pilot_core.io.join import JOINS, Join

WHERE = {"run": "/cache/ddmendpoints.json", "submit": "/dispatcher/v1/jobs", "admin": "/dispatcher/v1/jobs"}


def status(served, role, token):
    return requests.get(served.near + WHERE[role], headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


@pytest.mark.parametrize("role", WHERE)
def test_the_old_one_is_refused_at_once_and_the_join_string_holds_the_new_one(pilot, tmp_path, role):
    home = tmp_path / "served"
    with Dispatcher(home) as served:
        old = served.tokens.token(role)
        assert status(served, role, old) == 200
        said = pilot("token", "rotate", role, "--home", home)
        assert (said.code, said.err) == (0, "")
        new = (home / "tokens" / role).read_text().strip()
        assert (status(served, role, old), status(served, role, new)) == (403, 200)
    join = home / JOINS[role]
    assert Join.read(join.read_text()) == Join(served.url, new, served.fingerprint, "local")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (join, home / "tokens" / role)} == {0o600}
    assert f"{join} holds it too" in said.out
    assert not {old, new} & {*said.out.split()}


def test_one_that_does_not_run_has_it_when_it_starts(pilot, tmp_path):
    with Dispatcher(tmp_path / "served") as served:
        old = served.tokens.key
    said = pilot("token", "rotate", "key", "--home", "served", "--json")
    assert json.loads(said.out) == {"role": "key", "token": f"{tmp_path}/served/tokens/key", "join": None}
    with Dispatcher(tmp_path / "served") as served:
        assert served.tokens.key not in ("", old)


@pytest.mark.parametrize(("words", "told"), [
    (("rotate", "pilot"), "'pilot' is not run or submit or admin or key"),
    (("rotate", "run", "--home", "nowhere"), "no dispatcher has lived in "),
])  # fmt: skip
def test_what_is_meant_has_to_be_there(pilot, words, told):
    said = pilot("token", *words)
    assert said.code in (2, 69)
    assert told in said.err

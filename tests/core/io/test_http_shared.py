"""One session for all who speak with the same server: who shares it, and when it ends."""

from __future__ import annotations

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.io.http import Web
from pilot_core.io.http_shared import web_of
from pilot_core.testing.server import PilotServer

pytest_plugins = ["pilot_core.testing.fixtures"]

QUEUES = "/dispatcher/v1/queues"


def session(server: PilotServer, **connection: object) -> Web:
    usual = {"url": [server.url], "fingerprint": server.fingerprint, "token": str(server.token("submit"))}
    told = {**usual, **connection}
    return web_of(Schema(CORE).merge(Layer(Rank.SITE, "the test", {"connection": told})))


def status(web: Web) -> int:
    return web.call("GET", QUEUES).status


def test_settings_make_a_session(panda_server: PilotServer) -> None:
    web = session(panda_server)
    assert status(web) == 200
    web.close()


def test_equal_settings_share_their_connections_until_all_have_closed_them(panda_server: PilotServer) -> None:
    one, other = session(panda_server), session(panda_server)
    assert (status(one), status(other), len(panda_server.opened)) == (200, 200, 1)
    one.close()
    assert (status(other), len(panda_server.opened)) == (200, 1)
    other.close()
    another = session(panda_server)
    assert (status(another), len(panda_server.opened)) == (200, 2)
    another.close()


def test_who_is_let_go_of_counts_as_closed(panda_server: PilotServer) -> None:
    one = session(panda_server)
    assert status(one) == 200
    del one
    another = session(panda_server)
    assert (status(another), len(panda_server.opened)) == (200, 2)
    another.close()


def test_a_token_that_is_replaced_is_shown_by_all_who_share_it(panda_server: PilotServer) -> None:
    token = panda_server.home / "token"
    token.touch(0o600)
    token.write_text("wrong")
    one, other = (session(panda_server, token=str(token)) for _ in range(2))
    assert 200 not in (status(one), status(other))
    token.write_text(panda_server.token("submit").read_text())
    assert (status(one), status(other)) == (200, 200)
    one.close()
    other.close()


@pytest.mark.parametrize(
    "different",
    [{"fingerprint": "ab" * 32}, {"ipv4_only": True}, {"url": ["https://a.example.org"]}, {"token": "/a/token"}],
    ids=lambda different: next(iter(different)),
)
def test_who_believes_shows_or_calls_something_else_has_his_own(
    panda_server: PilotServer, different: dict[str, object]
) -> None:
    usual, unusual = session(panda_server), session(panda_server, **different)
    assert usual is not unusual
    usual.close()
    unusual.close()

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.dispatcher.head import MOST_HEADERS, Refused, bearer, read_head


def head(line="GET / HTTP/1.1", *headers, host="Host: here"):
    return "\r\n".join([line, *([host] if host else []), *headers]).encode("latin-1")


def test_what_stands_in_a_head_is_read():
    found = read_head(head("PUT /a%20b/%C3%A4?x=1&x=2&y= HTTP/1.1", "Content-Length: 12", "X-Two:a", "x-two: \tb "))
    assert (found.method, found.path, found.query) == ("PUT", "/a b/ä", {"x": ["1", "2"], "y": [""]})
    assert found.headers == {"host": "here", "content-length": "12", "x-two": "a, b"}
    assert (found.length, found.keep, found.expects) == (12, True, False)


def test_wishes_are_understood():
    assert not read_head(head("GET / HTTP/1.1", "Connection: Close")).keep
    assert not read_head(head("GET / HTTP/1.0", host="")).keep
    assert read_head(head("PUT / HTTP/1.1", "Content-Length: 1", "Expect: 100-Continue")).expects


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (head("GET  / HTTP/1.1"), 400),
        (head("GET / HTTP/1.1 "), 400),
        (head("GET /a b HTTP/1.1"), 400),
        (head("GET / http/1.1"), 400),
        (head("get / HTTP/1.1"), 501),
        (head("BREW / HTTP/1.1"), 501),
        (head("PRI * HTTP/2.0"), 505),
        (head("GET http://here/ HTTP/1.1"), 400),
        (head("GET * HTTP/1.1"), 400),
        (head("GET /#x HTTP/1.1"), 400),
        (head("GET /\xe4 HTTP/1.1"), 400),
        (head("GET /%E4 HTTP/1.1"), 400),
        (head("GET /a%2Fb HTTP/1.1"), 400),
        (head("GET /a%2fb HTTP/1.1"), 400),
        (head("GET /a%00 HTTP/1.1"), 400),
        (head("GET /a%zz HTTP/1.1"), 400),
        (head("GET /?x HTTP/1.1"), 400),
        (head("GET /" + "a" * 8192 + " HTTP/1.1"), 414),
        (head(host=""), 400),
        (head("GET / HTTP/1.1", "Host: there"), 400),
        (head("GET / HTTP/1.1", "no colon"), 400),
        (head("GET / HTTP/1.1", ": no name"), 400),
        (head("GET / HTTP/1.1", "Space : before"), 400),
        (head("GET / HTTP/1.1", "Folded: a", " b"), 400),
        (head("GET / HTTP/1.1", "Null: \0"), 400),
        (head("GET / HTTP/1.1", "Bare: a\nInjected: b"), 400),
        (head("GET / HTTP/1.1", "Bare: a\rInjected: b"), 400),
        (head("GET / HTTP/1.1", *["A: b"] * MOST_HEADERS), 431),
        (head("PUT / HTTP/1.1", "Transfer-Encoding: chunked"), 411),
        (head("PUT / HTTP/1.1", "Transfer-Encoding: identity", "Content-Length: 3"), 411),
        (head("PUT / HTTP/1.1", "Content-Length: 3", "Content-Length: 3"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: 3, 3"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: +3"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: -3"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: 0x3"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: 1_0"), 400),
        (head("PUT / HTTP/1.1", "Content-Length:"), 400),
        (head("PUT / HTTP/1.1", "Content-Length: " + "9" * 19), 400),
        (head("GET / HTTP/1.1", "Authorization: Bearer a", "Authorization: Bearer b"), 400),
        (head("PUT / HTTP/1.1", "Expect: the worst"), 417),
    ],
)
def test_what_two_readers_could_take_differently_is_refused(data, status):
    with pytest.raises(Refused) as caught:
        read_head(data)
    assert (caught.value.status, "\n" in caught.value.text) == (status, False)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda data: head("GET / HTTP/1.1") + b"\r\n" + data))
def test_any_bytes_are_read_or_refused(data):
    with suppress(Refused):
        assert read_head(data).path.startswith("/")


@pytest.mark.parametrize(
    ("written", "token"),
    [("Bearer abc", "abc"), ("bearer  abc", "abc"), ("Basic abc", ""), ("abc", ""), ("Bearer", ""), ("", "")],
)
def test_a_token_is_a_bearer_token(written, token):
    assert bearer({"authorization": written}) == token
    assert bearer({}) == ""

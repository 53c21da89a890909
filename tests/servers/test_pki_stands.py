"""The authority's certificates hold, a proxy is one, a token says what it should."""

from __future__ import annotations

import subprocess
import time

import jwt
import pytest

from . import pki as servers
from .clients import done


def verified(pki, chain, *more):
    command = ["openssl", "verify", "-CApath", pki.authorities, "-crl_check_all", *more, "-untrusted", chain, chain]
    return subprocess.run(command, capture_output=True, text=True)


def claims(pki, token):
    (key,) = jwt.PyJWKSet.from_dict(pki.keys).keys
    return jwt.decode(token, key.key, ["ES256"], audience=servers.AUDIENCE)


def test_host_and_user_are_the_authority_s(pki):
    done("openssl", "verify", "-CApath", pki.authorities, "-verify_hostname", "localhost", pki.host[0])
    done("openssl", "verify", "-CApath", pki.authorities, "-purpose", "sslclient", pki.user[0])


def test_a_proxy_is_the_user_s(pki):
    assert verified(pki, pki.user[0]).returncode == 0
    refused = verified(pki, pki.proxy)
    assert "proxy certificates not allowed" in refused.stderr
    allowed = verified(pki, pki.proxy, "-allow_proxy_certs")
    assert allowed.returncode == 0, allowed.stderr


def test_an_expired_proxy_is_expired(pki):
    assert "certificate has expired" in verified(pki, pki.expired_proxy, "-allow_proxy_certs").stderr


def test_tokens(pki):
    good = claims(pki, pki.token())
    assert (good["iss"], good["scope"]) == (pki.issuer, servers.WRITE)
    assert good["exp"] > time.time()
    assert claims(pki, pki.token(servers.READ))["scope"] == "storage.read:/"
    with pytest.raises(jwt.ExpiredSignatureError):
        claims(pki, pki.token(left_s=-60))


def test_only_their_owner_reads_secrets(pki):
    secrets = [pki.user[1], pki.host[1], pki.proxy, pki.expired_proxy, pki.token_file("bearer")]
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}

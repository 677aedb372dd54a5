"""Keys with scopes are required, unless this is a developer's machine talking to itself."""

from __future__ import annotations

import os

import pytest

from features.errors import ConfigError
from serving.access import Access, AccessError, ScopeError


def test_nothing_configured_is_refused():
    with pytest.raises(ConfigError, match="no API key"):
        Access.from_environment({})


def test_scopes_are_enforced_and_admin_may_all():
    access = Access.from_environment({"KOKYAKU_KEYS": "read+events:one,admin:two"})
    access.check("read", {"x-api-key": "one"})
    access.check("events", {"authorization": "Bearer one"})
    access.check("admin", {"x-api-key": "two"})
    access.check("read", {"x-api-key": "two"})
    with pytest.raises(ScopeError, match="scope admin"):
        access.check("admin", {"x-api-key": "one"})
    for headers in ({}, {"x-api-key": "three"}, {"x-api-key": "on"}):
        with pytest.raises(AccessError):
            access.check("read", headers)


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "[::1]:3000"])
def test_development_answers_loopback(host):
    Access.from_environment({"KOKYAKU_DEV": "1"}).check("admin", {"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "shop.example"},
        {"host": "127.0.0.1.evil.example:3000"},
        {"host": "localhost:3000", "origin": "https://evil.example"},
        {},
    ],
)
def test_development_answers_nobody_else(headers):
    with pytest.raises(ScopeError, match="loopback"):
        Access(dev=True).check("read", headers)


def test_key_files_must_be_private(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text('[{"key": "k", "scopes": ["read"]}]')
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Access.from_environment({"KOKYAKU_KEY_FILE": os.fspath(path)})
    path.chmod(0o600)
    Access.from_environment({"KOKYAKU_KEY_FILE": os.fspath(path)}).check("read", {"x-api-key": "k"})
    path.write_text('[{"key": "k", "scopes": ["fly"]}]')
    with pytest.raises(ConfigError, match="unknown scope"):
        Access.from_environment({"KOKYAKU_KEY_FILE": os.fspath(path)})

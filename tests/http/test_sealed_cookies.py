"""Texts that one page shows after a redirect."""

from datetime import timedelta
from typing import Any

import pytest
from litestar import Request

from idp import clock
from idp.http import sealed_cookies


def _request(cookie: Any) -> Request[Any, Any, Any]:
    header = (b"cookie", f"{cookie.key}={cookie.value}".encode())
    return Request({"type": "http", "headers": [header], "state": {}})  # type: ignore[arg-type,typeddict-item]


def test_a_copied_cookie_expires(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser deletes it by its Max-Age, somebody who copied it does not."""
    request = _request(sealed_cookies.seal("secret", "s3cret", "page"))
    assert sealed_cookies.read(request, "secret", "page") == "s3cret"
    assert sealed_cookies.read(request, "secret", "other page") is None
    monkeypatch.setattr(clock, "offset", timedelta(seconds=sealed_cookies.LIFETIME + 1))
    assert sealed_cookies.read(request, "secret", "page") is None

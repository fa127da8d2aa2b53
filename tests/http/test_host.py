"""The form of the Host header (RFC 9112 section 3.2). tests/attacks/test_32_host_header.py sends it to a server."""

from typing import Any, cast

import pytest
from litestar.exceptions import HTTPException
from litestar.types import HTTPScope

from idp.http.host import check_host


def scope(*hosts: bytes, version: str = "1.1") -> HTTPScope:
    headers: Any = [(b"accept", b"*/*"), *((b"host", host) for host in hosts)]
    return cast(HTTPScope, {"type": "http", "http_version": version, "headers": headers})


@pytest.mark.parametrize(
    "host",
    [
        b"id.example.com", b"id.example.com:8443", b"id.example.com:", b"ID.Example.com.", b"localhost",
        b"127.0.0.1:80", b"[::1]", b"[::1]:8443", b"[::ffff:10.0.0.1]", b"[v1.fe80:a]", b"a_b.example",
        b"b%C3%BCcher.example",
    ],
)  # fmt: skip
def test_a_host(host: bytes) -> None:
    check_host(scope(host))


@pytest.mark.parametrize(
    "host",
    [
        b"id.example.com/x", b"id.example.com?x", b"id.example.com#x", b"a b", b"user@id.example.com", b"a,b:x",
        b"a:b",
        b"a:1:2", b"[::1", b"::1", b"[::1]x", b"[]", b"a%2", b"a%zz", b"a\\b", b"<a>", "bücher.example".encode(),
        b"a\tb", b"a\n", b'"a"',
    ],
)  # fmt: skip
def test_no_host(host: bytes) -> None:
    with pytest.raises(HTTPException) as refused:
        check_host(scope(host))
    assert refused.value.status_code == 400


def test_two_hosts() -> None:
    for version in ("1", "1.1", "2"):
        with pytest.raises(HTTPException):
            check_host(scope(b"a.example", b"a.example", version=version))


def test_without_a_host() -> None:
    """HTTP/1.0 has no such header; HTTP/2 names the host otherwise."""
    for version in ("1", "1.0", "2"):
        check_host(scope(version=version))
        check_host(scope(b"", version=version))
    for hosts in ((), (b"",)):
        with pytest.raises(HTTPException):
            check_host(scope(*hosts))

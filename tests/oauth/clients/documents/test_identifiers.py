"""Which URLs may be a `client_id`, and whose documents are accepted."""

from typing import Any

import pytest

from idp.oauth.clients.documents import identifiers
from idp.oauth.clients.documents.identifiers import check_document_url, host_of, is_accepted
from idp.oauth.clients.uris import InvalidURIError
from idp.settings import settings

ALLOWED = [
    "https://app.example.com/client.json",
    "https://app.example.com/oauth/client-metadata.json",
    "https://app.example.com:8443/c",
    "https://example.com/a/",
    "https://example.com//a",
    "https://example.com/a%2Fb",
    "https://example.com/.well-known/client",
    "https://example.com/...",
    "https://example.com/a.b..c",
    "https://xn--bcher-kva.example/c",
    "https://intranet/c",
    "https://example.com/~me;v=1/@scope",
]
REFUSED = [
    "", "https://", "https:///c", "https://example.com", "https://example.com/", "https://example.com?x=1",
    "http://example.com/c", "ftp://example.com/c", "//example.com/c", "example.com/c", "https:example.com/c",
    "https://example.com/c#", "https://example.com/c#f", "https://example.com/c?", "https://example.com/c?a=b",
    "https://user@example.com/c", "https://user:pw@example.com/c", "https://@example.com/c", "https://:@example.com/c",
    "https://example.com/./c", "https://example.com/../c", "https://example.com/a/..", "https://example.com/a/.",
    "https://example.com/%2e/c", "https://example.com/%2E%2e/c", "https://example.com/a/.%2E",
    "HTTPS://example.com/c", "https://Example.com/c", "https://example.com:443/c", "https://example.com:/c",
    "https://example.com:0/c", "https://example.com:65536/c", "https://example.com:08/c", "https://example.com:x/c",
    "https://127.0.0.1/c", "https://127.1/c", "https://0x7f000001/c", "https://0x7f.1/c", "https://2130706433/c",
    "https://1.2.3.4/c", "https://[::1]/c", "https://[::ffff:7f00:1]/c", "https://[fe80::1%25eth0]/c",
    "https://example.com./c", "https://.example.com/c", "https://exa mple.com/c", "https://example.com/a b",
    "https://example.com\\@evil.example/c", "https://example.com/a\\b", "https://example.com/\0", "https://example.com/\n",
    " https://example.com/c", "https://example.com/c ", "https://bücher.example/c", "https://example.com/ü",
    "https://example.com/%", "https://example.com/%zz", "https://example.com/*", "https://*.example.com/c",
    "https://example.com/" + "a" * 500, "https://①②⑦.0.0.1/c", "javascript://example.com/c", "https://example.com/\"",
]  # fmt: skip


def configure(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    config = settings().model_copy(update=changed)
    monkeypatch.setattr(identifiers, "settings", lambda: config)


@pytest.mark.parametrize("url", ALLOWED)
def test_urls_that_may_be_a_client_id(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    configure(monkeypatch, outbound_allow_http=False)
    check_document_url(url)


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("development", [False, True])
def test_urls_that_may_not(monkeypatch: pytest.MonkeyPatch, url: str, development: bool) -> None:
    configure(monkeypatch, outbound_allow_http=development)
    if development and url in ("https://127.0.0.1/c", "https://[::1]/c"):
        return
    with pytest.raises(InvalidURIError):
        check_document_url(url)


@pytest.mark.parametrize("url", ["http://localhost:9/c", "http://127.0.0.1:9/c", "http://[::1]:9/c"])
def test_this_machine_in_development(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    configure(monkeypatch, outbound_allow_http=True)
    check_document_url(url)
    configure(monkeypatch, outbound_allow_http=False)
    with pytest.raises(InvalidURIError):
        check_document_url(url)


def test_people_see_the_host_and_another_port() -> None:
    assert host_of("https://app.example.com/client.json") == "app.example.com"
    assert host_of("https://app.example.com:8443/client.json") == "app.example.com:8443"


@pytest.mark.parametrize(
    ("mode", "allowed", "denied", "accepted"),
    [
        ("off", ("app.example.com",), (), False),
        ("open", (), (), True),
        ("open", (), ("app.example.com",), False),
        ("open", (), (".example.com",), False),
        ("open", (), ("example.com", "pp.example.com", ".app.example.com"), True),
        ("allow-list", (), (), False),
        ("allow-list", ("app.example.com",), (), True),
        ("allow-list", (".example.com",), (), True),
        ("allow-list", ("example.com", "p.example.com", ".p.example.com"), (), False),
        ("allow-list", (".example.com",), ("app.example.com",), False),
    ],
)
def test_whose_documents_are_accepted(
    monkeypatch: pytest.MonkeyPatch, mode: str, allowed: tuple[str, ...], denied: tuple[str, ...], accepted: bool
) -> None:
    configure(
        monkeypatch,
        client_id_metadata_documents=mode,
        client_id_metadata_hosts=allowed,
        client_id_metadata_denied_hosts=denied,
    )
    assert is_accepted("https://app.example.com:8443/client.json") == accepted

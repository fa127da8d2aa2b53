"""Row 3: a redirect URI that is nearly one of the client's.

It must be the same string; only a native client's loopback port is free (RFC 8252 section 7.3).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.oauth.clients.models import Client
from idp.oauth.clients.redirects import matches
from idp.oauth.clients.uris import InvalidURIError, check_redirect_uri

REGISTERED = "https://app.example.com/callback"


def client(*redirect_uris: str, native: bool = False) -> Client:
    return Client(
        client_id="app",
        client_name="App",
        application_type="native" if native else "web",
        token_endpoint_auth_method="none",
        redirect_uris=redirect_uris,
    )


NEARLY = [
    "",
    "https://app.example.com",
    "https://app.example.com/",
    "https://app.example.com/callback/",
    "https://app.example.com/callback?",
    "https://app.example.com/callback#",
    "https://app.example.com/callback#fragment",
    "https://app.example.com/callback?x=y",
    "https://app.example.com/callback/../callback",
    "https://app.example.com/./callback",
    "https://app.example.com//callback",
    "https://app.example.com/callback/more",
    "https://app.example.com/Callback",
    "https://app.example.com/%63allback",
    "https://app.example.com/callback%2e",
    "https://app.example.com/callback%00",
    "https://app.example.com/callback\0",
    "https://app.example.com/callback ",
    " https://app.example.com/callback",
    "https://app.example.com/callback\n",
    "https://app.example.com\\callback",
    "https://APP.example.com/callback",
    "HTTPS://app.example.com/callback",
    "http://app.example.com/callback",
    "https://app.example.com:443/callback",
    "https://app.example.com:8443/callback",
    "https://app.example.com./callback",
    "https://appXexample.com/callback",
    "https://fooapp.example.com/callback",
    "https://app.example.com.evil.test/callback",
    "https://evil.test/app.example.com/callback",
    "https://evil.test/?https://app.example.com/callback",
    "https://evil.test#https://app.example.com/callback",
    "https://evil.test\\@app.example.com/callback",
    "https://app.example.com@evil.test/callback",
    "https://user@app.example.com/callback",
    "https://app.example.com%2eevil.test/callback",
    "https://app\u3002example.com/callback",
    "https://\u0430pp.example.com/callback",
    "https://xn--pp-6kc.example.com/callback",
    "//app.example.com/callback",
    "https:app.example.com/callback",
    "https:///app.example.com/callback",
    "javascript:alert(1)//https://app.example.com/callback",
]


@pytest.mark.parametrize("uri", NEARLY, ids=ascii)
@pytest.mark.parametrize("native", [False, True])
def test_03_nearly_is_not_enough(uri: str, native: bool) -> None:
    app = client(REGISTERED, "https://app.example.com/other?x=y", native=native)
    assert not matches(app, uri)
    assert matches(app, REGISTERED)


@given(st.text(max_size=60))
def test_03_no_other_string_matches(uri: str) -> None:
    for native in (False, True):
        assert matches(client(REGISTERED, native=native), uri) == (uri == REGISTERED)


@given(st.integers(0, len(REGISTERED) - 1), st.characters())
def test_03_no_changed_character_matches(position: int, character: str) -> None:
    changed = REGISTERED[:position] + character + REGISTERED[position + 1 :]
    assert matches(client(REGISTERED), changed) == (changed == REGISTERED)


def test_03_a_client_without_uris_matches_nothing() -> None:
    assert not matches(client(), "")
    assert not matches(client(native=True), "http://127.0.0.1/")


LOOPBACK = ["http://127.0.0.1/cb", "http://[::1]/cb?x=y", "http://127.0.0.1:4000/port"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]:51004/cb?x=y",
        "http://127.0.0.1/port",
        "http://127.0.0.1:5000/port",
    ],
)
def test_03_the_loopback_port_is_free_for_native_clients_only(uri: str) -> None:
    assert matches(client(*LOOPBACK, native=True), uri)
    assert matches(client(*LOOPBACK), uri) == (uri in LOOPBACK)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/cb/",
        "http://127.0.0.1:51004/cb?x=y",
        "http://127.0.0.1:51004/CB",
        "http://127.0.0.1:51004",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:065/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:99999999/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:80@evil.test/cb",
        "http://127.0.0.1:80\\@evil.test/cb",
        "http://127.0.0.1.evil.test:80/cb",
        "http://127.0.0.1@evil.test/cb",
        "http://evil.test:80/cb",
        "https://127.0.0.1:51004/cb",
        "HTTP://127.0.0.1:51004/cb",
        "http://127.0.0.2:51004/cb",
        "http://127.1:51004/cb",
        "http://2130706433:51004/cb",
        "http://0x7f.0.0.1:51004/cb",
        "http://0.0.0.0:51004/cb",
        "http://localhost:51004/cb",
        "http://localhost/cb",
        "http://[::1]:51004/cb",
        "http://[0:0:0:0:0:0:0:1]:51004/cb?x=y",
        "http://[::ffff:127.0.0.1]:51004/cb",
        "http://127.0.0.1:\u0665/cb",
        "http://127.0.0.1:51004/cb\n",
    ],
    ids=ascii,
)
def test_03_all_but_the_loopback_port_is_exact(uri: str) -> None:
    assert not matches(client(*LOOPBACK, native=True), uri)


@pytest.mark.fault(29)
def test_03_localhost_by_name_has_a_free_port_for_native_clients_only() -> None:
    """RFC 8252 section 8.3 advises against the name; most programs use it all the same."""
    assert matches(client("http://localhost/cb", native=True), "http://localhost:51004/cb")
    assert not matches(client("http://localhost/cb", native=True), "http://127.0.0.1:51004/cb")
    assert not matches(client("http://localhost/cb"), "http://localhost:51004/cb")


@pytest.mark.parametrize(
    "uri",
    [
        "https://*.example.com/callback",
        "https://app.example.com/*",
        "https://app.example.com/callback?next=*",
        "https://app.example.com/callback#",
        "https://app.example.com/callback#x",
        "https://user:password@app.example.com/callback",
        "https://@app.example.com/callback",
        "https://app.example.com/call back",
        "https://app.example.com/call\\back",
        "https://app.example.com/callback\n",
        "https://app.example.com/\x7f",
        "https://app.example.com/%",
        "https://app.example.com/%zz",
        "https://app.example.com/<script>",
        'https://app.example.com/"',
        "https://\u00e4pp.example.com/callback",
        "https://app.example.com/\u00e4",
        "https://app.example.com:0/callback",
        "https://app.example.com:65536/callback",
        "https://app.example.com:x/callback",
        "https://app.example.com;script-src/callback",
        "https://app.example.com,evil.test/callback",
        "https://app%2eexample.com/callback",
        "https://-/callback",
        "https://app-.example.com/callback",
        "https://app..example.com/callback",
        "https://[::1/callback",
        "https://[::1]evil.test/callback",
        "https://[v1.x]/callback",
        "https://[fe80::1%25eth0]/callback",
        "https://",
        "https:",
        "https:app.example.com",
        "https:///callback",
        "//app.example.com/callback",
        "/callback",
        "callback",
        "",
        "https://app.example.com/" + "x" * 2048,
    ],
    ids=lambda uri: ascii(uri[:60]),
)
@pytest.mark.parametrize("application_type", ["web", "native"])
def test_03_uris_that_could_be_read_in_two_ways_are_not_registered(uri: str, application_type: str) -> None:
    with pytest.raises(InvalidURIError):
        check_redirect_uri(uri, application_type)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com:8443/a/b.c~d?x=y&z=%20%2F",
        "https://xn--pp-6kc.example.com/callback",
        "https://192.0.2.1/callback",
        "https://[2001:db8::1]:8443/callback",
        "http://localhost:3000/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:80/callback",
    ],
)
@pytest.mark.parametrize("application_type", ["web", "native"])
def test_03_honest_uris_are_registered(uri: str, application_type: str) -> None:
    check_redirect_uri(uri, application_type)


def test_03_a_wildcard_is_refused_by_its_name() -> None:
    """The message names the wildcard, so that operators do not try others."""
    for uri in ("https://*.example.com/callback", "https://app.example.com/*", "com.example.app:/*"):
        with pytest.raises(InvalidURIError, match="wildcard"):
            check_redirect_uri(uri, "native")

"""The registered redirect URI that is nearest to a received one, and how the two differ."""

import pytest

from idp.oauth.clients.models import Client
from idp.oauth.clients.nearest_redirect import in_facts, nearest, shown

URIS = ("https://app.example.com/callback", "https://other.example/", "com.example.app:/callback")


@pytest.fixture
def client() -> Client:
    return Client(client_id="c", client_name="C", redirect_uris=URIS)


@pytest.mark.parametrize(
    ("received", "uri", "differs"),
    [
        ("https://app.example.com/callback/", URIS[0], ["trailing slash"]),
        ("https://app.example.com/Callback", URIS[0], ["upper and lower case of the path"]),
        (
            "https://app.example.com/CALLBACK/",
            URIS[0],
            ["upper and lower case of the path", "trailing slash"],
        ),
        ("https://APP.example.com/callback", URIS[0], ["upper and lower case of the host"]),
        ("http://app.example.com/callback", URIS[0], ["scheme (http, registered https)"]),
        ("https://app.example.com:8443/callback", URIS[0], ["port (8443, registered none)"]),
        ("https://www.example.com/callback", URIS[0], ["host"]),
        ("https://app.example.com/callback?a=1", URIS[0], ["query"]),
        ("https://app.example.com/callback#x", URIS[0], ["fragment, which a redirect URI must not have"]),
        ("https://user:password@app.example.com/callback", URIS[0], ["user or password"]),
        ("https://other.example", URIS[1], ["trailing slash"]),
        ("com.example.app:/other", URIS[2], ["path"]),
        ("https://[", URIS[0], ["it is not a URI"]),
    ],
)
def test_the_nearest_one(client: Client, received: str, uri: str, differs: list[str]) -> None:
    assert nearest(received, client.redirect_uris) == (uri, tuple(differs))


def test_without_any() -> None:
    assert nearest("https://app.example.com/", ()).uri is None


def test_values_are_not_shown() -> None:
    """The query of a redirect URI may hold a token, the authority a password."""
    uri = "https://user:password@app.example.com/cb?token=secret&x#fragment"
    assert shown(uri) == "https://app.example.com/cb?token=…&x=…"
    assert shown("https://[") == "not a URI"
    assert len(shown("https://a.example/" + "x" * 10_000)) <= 500


def test_facts_for_a_developer() -> None:
    facts = in_facts("https://app.example.com/callback/?code=secret", ["https://app.example.com/callback"])
    assert facts == (
        ("Sent", "https://app.example.com/callback/?code=…"),
        ("Registered", "https://app.example.com/callback"),
        ("The nearest differs in", "trailing slash, query"),
    )
    assert in_facts("https://app.example.com/", [])[1] == ("Registered", "none")

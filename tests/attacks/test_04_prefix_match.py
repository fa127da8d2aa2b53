"""Row 4: an address that begins like a trusted one, or contains it."""

import pytest

from idp.errors import OAuthError
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.models import Client
from idp.oauth.clients.uris import LOOPBACK_HOSTS, InvalidURIError, check_link, check_redirect_uri
from idp.oauth.clients.validation import validate

TRUSTED = "https://portal.example.com/signed-out"

LOOKS_LOCAL = [
    "http://localhost.evil.test/",
    "http://localhost@evil.test/",
    "http://localhost:80@evil.test/",
    "http://localhost%2eevil.test/",
    "http://localhost\\.evil.test/",
    "http://evil.test/localhost",
    "http://evil.test?localhost",
    "http://evil.test#localhost",
    "http://localhost.",
    "http://localhosts",
    "http://mylocalhost",
    "http://127.0.0.1.evil.test/",
    "http://127.0.0.10/",
    "http://127.0.0.2/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::1].evil.test/",
    "http://[::1]@evil.test/",
    "http://portal.example.com/",
]


@pytest.mark.parametrize("uri", LOOKS_LOCAL)
def test_04_plain_http_is_for_this_machine_alone(uri: str) -> None:
    with pytest.raises(InvalidURIError):
        check_redirect_uri(uri, "web")
    with pytest.raises(InvalidURIError):
        check_redirect_uri(uri, "native")
    with pytest.raises(InvalidURIError):
        check_link(uri)


def test_04_the_control_is_accepted() -> None:
    for host in LOOPBACK_HOSTS:
        check_redirect_uri(f"http://{host}/", "web")
        check_link(f"http://{host}:3000")


@pytest.mark.parametrize("name", ["client_uri", "logo_uri", "policy_uri", "tos_uri"])
@pytest.mark.parametrize("uri", [*LOOKS_LOCAL, "//portal.example.com", "/\\portal.example.com", "https:portal"])
def test_04_every_link_of_a_client_is_checked(name: str, uri: str) -> None:
    metadata = ClientMetadata(client_name="Portal", redirect_uris=(TRUSTED,), **{name: uri})  # type: ignore[arg-type]
    with pytest.raises(OAuthError) as refused:
        validate(metadata)
    assert refused.value.code == "invalid_client_metadata"


@pytest.mark.parametrize("uri", LOOKS_LOCAL)
def test_04_every_post_logout_redirect_uri_is_checked(uri: str) -> None:
    metadata = ClientMetadata(
        client_name="Portal", redirect_uris=(TRUSTED,), post_logout_redirect_uris=("https://portal.example.com", uri)
    )
    with pytest.raises(OAuthError):
        validate(metadata)


@pytest.mark.parametrize(
    "origin",
    [
        "https://portal.example.com.evil.test",
        "https://portal.example.com:8443",
        "https://evil.test/https://portal.example.com",
        "https://portal.example.co",
        "https://portal.example.com/",
        "https://sub.portal.example.com",
        "http://portal.example.com",
        "null",
        "",
    ],
)
def test_04_an_origin_is_compared_whole(origin: str) -> None:
    client = Client(client_id="portal", client_name="Portal", redirect_uris=(TRUSTED,))
    assert origin not in client.origins
    assert "https://portal.example.com" in client.origins

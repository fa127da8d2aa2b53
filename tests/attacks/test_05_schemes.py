"""Row 5: a redirect URI or link that is a script when a browser follows it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.tables import ClientRow
from idp.oauth.clients.uris import UnfitURI, check_link, check_redirect_uri

SCRIPTS = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "javascript://app.example.com/%0aalert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript&colon;alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "DATA:,x",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://app.example.com/1",
    "about:blank",
    "view-source:https://app.example.com",
    "filesystem:https://app.example.com/x",
    "intent://app.example.com#Intent;end",
    "ws://app.example.com/",
    "ftp://app.example.com/",
    "mailto:alice@example.com",
    "tel:123",
    "urn:ietf:wg:oauth:2.0:oob",
    "myapp:/callback",
    "myapp://callback",
]


@pytest.mark.parametrize("uri", SCRIPTS, ids=ascii)
@pytest.mark.parametrize("application_type", ["web", "native"])
def test_05_no_such_redirect_uri(uri: str, application_type: str) -> None:
    with pytest.raises(UnfitURI):
        check_redirect_uri(uri, application_type)


@pytest.mark.parametrize("uri", [*SCRIPTS, "com.example.app:/callback"], ids=ascii)
def test_05_no_such_link(uri: str) -> None:
    with pytest.raises(UnfitURI):
        check_link(uri)


@pytest.mark.parametrize("member", ["redirect_uris", "post_logout_redirect_uris"])
@pytest.mark.usefixtures("db")
async def test_05_registration_refuses_them(member: str) -> None:
    before = await ClientRow.count()
    metadata: dict[str, Any] = {"client_name": "Evil", "redirect_uris": ["https://app.example.com/callback"]}
    for uri in SCRIPTS:
        with pytest.raises(OAuthError) as refused:
            await register_client(**(metadata | {member: ["https://app.example.com/callback", uri]}))
        assert refused.value.error in ("invalid_redirect_uri", "invalid_client_metadata")
    assert await ClientRow.count() == before


@pytest.mark.parametrize(
    "uri", ["com.example.app:/callback", "com.example.app:/", "org.example-1.app:/oauth?x=y", "io.x:/callback/a/b"]
)
def test_05_private_use_schemes_are_for_native_clients(uri: str) -> None:
    """RFC 8252 section 7.1: a domain name reversed, so there is a dot in it."""
    check_redirect_uri(uri, "native")
    with pytest.raises(UnfitURI):
        check_redirect_uri(uri, "web")


@pytest.mark.parametrize(
    "uri",
    [
        "com.example.app://callback",
        "com.example.app://evil.test/callback",
        "com.example.app:///callback",
        "com.example.app:callback",
        "com.example.app:",
        "com.example.app:/callback#x",
        "com.example.app:/*",
        ".com:/callback",
        "com.:/callback",
        "com..app:/callback",
        "1.app:/callback",
        "javascript.:/alert(1)",
    ],
)
def test_05_private_use_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(UnfitURI):
        check_redirect_uri(uri, "native")


@pytest.mark.parametrize(
    "query",
    [
        "code=x",
        "state=x",
        "iss=https://evil.test",
        "error=x",
        "response=x",
        "a=b&code=x",
        "code",
        "code=",
        "c%6Fde=x",
        "+code=x",
        "a=b;state=x",
        "id_token=x",
        "access_token=x",
    ],
)
@pytest.mark.parametrize("base", ["https://app.example.com/callback", "com.example.app:/callback"])
def test_05_no_redirect_uri_brings_a_response_of_its_own(base: str, query: str) -> None:
    """Row 9 asks for it: the client would read the wrong one of two."""
    with pytest.raises(UnfitURI):
        check_redirect_uri(f"{base}?{query}", "native")
    check_redirect_uri(f"{base}?barcode=x&my_state=y", "native")


@given(st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=40), st.sampled_from(["web", "native"]))
def test_05_whatever_is_accepted_is_one_of_three_kinds(uri: str, application_type: str) -> None:
    try:
        check_redirect_uri(uri, application_type)
    except UnfitURI:
        return
    scheme = uri.partition(":")[0].lower()
    assert scheme in ("https", "http") or (application_type == "native" and "." in scheme)

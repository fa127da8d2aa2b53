"""Row 5: a redirect URI or link with a scheme that runs scripts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.tables import ClientRow
from idp.oauth.clients.uris import REFUSED_SCHEMES, InvalidURIError, check_link, check_redirect_uri

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
    "itms-services://?action=download-manifest",
    "ms-msdt:/id",
    "search-ms:/query",
    "chrome://settings",
    "jar:/x",
    "c:/windows",
    *(f"{scheme}:/callback" for scheme in sorted(REFUSED_SCHEMES)),
    *(f"{scheme.upper()}://callback/x" for scheme in sorted(REFUSED_SCHEMES - {"https"})),
]


@pytest.mark.parametrize("uri", SCRIPTS, ids=ascii)
@pytest.mark.parametrize("application_type", ["web", "native"])
def test_05_no_such_redirect_uri(uri: str, application_type: str) -> None:
    with pytest.raises(InvalidURIError):
        check_redirect_uri(uri, application_type)


@pytest.mark.parametrize("uri", [*SCRIPTS, "com.example.app:/callback"], ids=ascii)
def test_05_no_such_link(uri: str) -> None:
    with pytest.raises(InvalidURIError):
        check_link(uri)


@pytest.mark.parametrize("member", ["redirect_uris", "post_logout_redirect_uris"])
@pytest.mark.usefixtures("db")
async def test_05_registration_refuses_them(member: str) -> None:
    before = await ClientRow.count()
    metadata: dict[str, Any] = {"client_name": "Evil", "redirect_uris": ["https://app.example.com/callback"]}
    for uri in SCRIPTS:
        with pytest.raises(OAuthError) as refused:
            await register_client(**(metadata | {member: ["https://app.example.com/callback", uri]}))
        assert refused.value.code in ("invalid_redirect_uri", "invalid_client_metadata")
    assert await ClientRow.count() == before


#: As real apps register them: Immich, Cursor, VS Code, MSAL on iOS and Windows, AppAuth, Nextcloud, GitHub Desktop.
NATIVE = [
    "app.immich:///oauth-callback",
    "cursor://anysphere.cursor-retrieval/oauth/callback",
    "vscode://vscode.github-authentication/did-authenticate",
    "vscode-insiders://vscode.github-authentication/did-authenticate",
    "msal6e74172b-be56-4843-9ff4-e66a39bb12e3://auth",
    "msauth.com.example.app://auth",
    "ms-appx-web://microsoft.aad.brokerplugin/6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "nc://login/flow",
    "x-github-desktop-auth://oauth",
    "com.googleusercontent.apps.1234-abc:/oauth2redirect",
    "com.example.app:/callback",
    "com.example.app:/",
    "com.example.app://callback",
    "com.example.app:///callback",
    "org.example-1.app:/oauth?x=y",
    "io.x:/callback/a/b",
    "http://localhost/callback",
    "http://localhost:8400/",
]


@pytest.mark.fault(29)
@pytest.mark.parametrize("uri", NATIVE)
def test_05_private_use_schemes_are_for_native_clients(uri: str) -> None:
    """RFC 8252 section 7.1 recommends a reversed domain name; many apps have a single word."""
    check_redirect_uri(uri, "native")
    if not uri.startswith("http:"):
        with pytest.raises(InvalidURIError):
            check_redirect_uri(uri, "web")


@pytest.mark.parametrize(
    "uri",
    [
        "com.example.app:callback",
        "com.example.app:",
        "com.example.app:/callback#x",
        "com.example.app:/*",
        "com.example.app://user@callback",
        "com.example.app://user:password@callback/x",
        ".com:/callback",
        "com.:/callback",
        "com..app:/callback",
        "1.app:/callback",
        "javascript.:/alert(1)",
        "a:/callback",
        "/callback",
        "//callback",
        "://callback",
    ],
)
def test_05_private_use_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(InvalidURIError):
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
def test_05_no_redirect_uri_contains_response_parameters(base: str, query: str) -> None:
    """Row 9: the client could read the wrong one of two values."""
    with pytest.raises(InvalidURIError):
        check_redirect_uri(f"{base}?{query}", "native")
    check_redirect_uri(f"{base}?barcode=x&my_state=y", "native")


@given(st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=40), st.sampled_from(["web", "native"]))
def test_05_every_accepted_uri_is_of_three_kinds(uri: str, application_type: str) -> None:
    try:
        check_redirect_uri(uri, application_type)
    except InvalidURIError:
        return
    scheme = uri.partition(":")[0].lower()
    own = scheme.isascii() and scheme not in REFUSED_SCHEMES and len(scheme) > 1
    assert scheme in ("https", "http") or (application_type == "native" and own)

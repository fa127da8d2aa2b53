"""Pairwise subjects (OpenID Connect Core section 8): what clients see, and that everything still finds its user."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.keys import sealed_ids
from idp.oauth import subjects
from idp.oauth.clients.metadata import sector_of
from idp.oauth.clients.models import Client
from idp.oauth.clients.service import update_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import RelyingParty, until_current
from tests.support.tokens import claims_of

ONE, SAME, OTHER = "https://one.example/cb", "https://one.example:8443/other?x=1", "https://two.example/cb"
SIGNED_OUT = "https://one.example/signed-out"


def _client(*redirect_uris: str, **metadata: str) -> Client:
    return Client(
        client_id="c", client_name="C", redirect_uris=redirect_uris, **({"subject_type": "pairwise"} | metadata)
    )


@pytest.fixture
async def pairwise(make_client: MakeClient) -> RelyingParty:
    return await make_client(
        subject_type="pairwise", redirect_uris=[ONE], post_logout_redirect_uris=[SIGNED_OUT], skip_consent=True
    )


@pytest.mark.parametrize(
    ("sector_identifier_uri", "redirect_uris", "sector"),
    [
        (None, (ONE,), "one.example"),
        (None, (ONE, SAME), "one.example"),
        (None, ("https://ONE.example/cb",), "one.example"),
        ("https://sector.example/uris.json", (ONE, OTHER), "sector.example"),
        # Validation refuses these; their subjects are still no public ones.
        (None, (ONE, OTHER), "one.example two.example"),
        (None, (), ""),
    ],
)
def test_the_sector(sector_identifier_uri: str | None, redirect_uris: tuple[str, ...], sector: str) -> None:
    assert sector_of(sector_identifier_uri, redirect_uris) == sector
    client = _client(
        *redirect_uris, **({"sector_identifier_uri": sector_identifier_uri} if sector_identifier_uri else {})
    )
    assert client.sector == sector
    assert _client(*redirect_uris, subject_type="public").sector is None


@pytest.mark.usefixtures("db")
def test_a_subject_names_a_user_in_its_sector_only() -> None:
    user, one, other = ids.uuid7(), _client(ONE), _client(OTHER)
    name = subjects.subject(one, user)
    assert len(name) == 1 + sealed_ids.LENGTH
    assert name[0] == "p"
    assert name == subjects.subject(_client(SAME), user)
    assert subjects.user_of(one.sector, name) == subjects.user_of(_client(SAME).sector, name) == user
    assert subjects.user_of(other.sector, name) is None
    assert subjects.user_of(None, name) is None
    assert subjects.subject(other, user) != name != subjects.subject(one, ids.uuid7())
    # A `sid` is no `sub`, although both are sealed ids of the sector.
    assert subjects.user_of(one.sector, subjects.sid(one, user)) is None
    assert subjects.identify(name, ["two.example", "one.example"]) == (user, "one.example")
    assert subjects.identify(name, ["two.example"]) is None


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "p" + "A" * 43,
        "p" + "é" * 43,
        "\0" * 36,
        "{01234567-89ab-7def-8123-456789abcdef}",
        "0123456789ab7def8123456789abcdef",
        "p" + "x" * 100_000,
    ],
)
def test_other_texts_name_nobody(text: str) -> None:
    assert subjects.identify(text, ["one.example"]) is None
    assert subjects.user_of("one.example", text) is None


def test_no_other_module_makes_or_compares_a_subject() -> None:
    """A public id beside `sub` would be a leak for pairwise clients."""
    folder = Path(subjects.__file__).parent
    makes = re.compile(r"""(?:\b(?:sub|subject|sid)\b.*\bstr\(|\bUUID\(.*\b(?:sub|subject|sid)\b)""")
    found = [
        f"{path.relative_to(folder)}: {line.strip()}"
        for path in sorted(folder.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if path.name != "subjects.py" and makes.search(line)
    ]
    assert found == []


async def test_every_token_has_the_subject_of_its_sector(
    browser: Browser, pairwise: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    """ID token, access token, userinfo and introspection, also after a refresh."""
    tokens = await pairwise.tokens(browser, alice.email)
    refreshed = (await pairwise.refresh(tokens["refresh_token"])).json()
    subject = claims_of(tokens["id_token"])["sub"]
    seen = {
        claims_of(refreshed["id_token"])["sub"],
        claims_of(tokens["access_token"])["sub"],
        claims_of(refreshed["access_token"])["sub"],
        (await pairwise.userinfo(tokens["access_token"])).json()["sub"],
        (await pairwise.introspect(tokens["access_token"]))["sub"],
        (await pairwise.introspect(refreshed["refresh_token"]))["sub"],
    }
    assert seen == {subject}
    assert (await pairwise.userinfo(tokens["access_token"])).json()["email"] == alice.email
    for token in (*tokens.values(), *refreshed.values()):
        assert str(alice.id) not in json.dumps(claims_of(token) if str(token).count(".") == 2 else token)

    same = await make_client(subject_type="pairwise", redirect_uris=[SAME], skip_consent=True)
    other = await make_client(subject_type="pairwise", redirect_uris=[OTHER], skip_consent=True)
    public = await make_client(skip_consent=True)
    found = {
        name: claims_of((await party.tokens(browser, alice.email))["id_token"])
        for name, party in {"same": same, "other": other, "public": public}.items()
    }
    assert found["same"]["sub"] == subject
    assert len({subject, found["other"]["sub"], found["public"]["sub"]}) == 3
    assert found["public"]["sub"] == str(alice.id)
    # The session is the same one, and its name is not.
    sid = claims_of(tokens["id_token"])["sid"]
    assert found["same"]["sid"] == sid
    assert len({sid, found["other"]["sid"], found["public"]["sid"]}) == 3


async def _silently(browser: Browser, party: RelyingParty, **changes: str | None) -> dict[str, str]:
    answer = await party.authorize(browser, prompt="none", **changes)
    assert isinstance(answer, Redirect)
    return answer.parameters


def _asks_for(subject: str) -> dict[str, str]:
    return {"claims": json.dumps({"id_token": {"sub": {"value": subject}}})}


async def test_a_request_for_a_subject(
    browser: Browser, pairwise: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    """OpenID Connect Core sections 3.1.2.1 and 5.5.1: by hint and by claim, only the subject of the own sector."""
    tokens = await pairwise.tokens(browser, alice.email)
    other = await make_client(subject_type="pairwise", redirect_uris=[OTHER], skip_consent=True)
    elsewhere = (await other.tokens(browser, alice.email))["id_token"]
    assert "code" in await _silently(browser, pairwise, id_token_hint=tokens["id_token"])
    assert "code" in await _silently(browser, pairwise, **_asks_for(claims_of(tokens["id_token"])["sub"]))
    refused = [{"id_token_hint": elsewhere}, _asks_for(claims_of(elsewhere)["sub"]), _asks_for(str(alice.id))]
    for changes in refused:
        assert (await _silently(browser, pairwise, **changes))["error"] == "login_required"


async def test_a_hint_ends_its_session_at_once(browser: Browser, pairwise: RelyingParty, alice: User) -> None:
    """OpenID Connect RP-Initiated Logout: `sid` is recognised, so there is no confirmation."""
    hint = (await pairwise.tokens(browser, alice.email))["id_token"]
    answer = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT)
    assert isinstance(answer, Redirect)
    assert answer.location == SIGNED_OUT
    assert (await _silently(browser, pairwise))["error"] == "login_required"


async def test_the_session_of_another_is_not_ended(
    browser: Browser, pairwise: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    """The hint of an earlier session of the browser asks first."""
    hint = (await pairwise.tokens(browser, alice.email))["id_token"]
    await browser.get("/logout", id_token_hint=hint)
    await pairwise.sign_in(browser, alice.email)
    answer = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT)
    assert isinstance(answer, Page)
    assert "logout-confirm" in answer.ids


async def _refused(party: RelyingParty, tokens: dict[str, Any], code: str) -> None:
    """Check that nothing that a client has got yields tokens."""
    assert await party.introspect(tokens["access_token"]) == {"active": False}
    for response in (await party.refresh(tokens["refresh_token"]), await party.redeem(code)):
        assert response.json()["error"] == "invalid_grant"


async def test_a_change_of_the_sector(browser: Browser, pairwise: RelyingParty, alice: User) -> None:
    """The subjects of a sector are for clients that get codes there, so what was issued before ends."""
    tokens = await pairwise.tokens(browser, alice.email)
    code = (await _silently(browser, pairwise))["code"]
    await update_client(pairwise.client_id, client_name="Renamed", redirect_uris=(ONE, SAME))
    assert (await pairwise.introspect(tokens["access_token"]))["active"], "the sector is the same"
    await update_client(pairwise.client_id, redirect_uris=(OTHER,))
    await until_current(pairwise)
    await _refused(pairwise, tokens, code)


async def test_a_client_becomes_pairwise(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """Also in two steps: its redirect URI was changed while its subjects were public."""
    party = await make_client(redirect_uris=[ONE], skip_consent=True)
    tokens = await party.tokens(browser, alice.email)
    code = (await _silently(browser, party))["code"]
    await update_client(party.client_id, redirect_uris=(OTHER,))
    await until_current(party)
    assert (await party.introspect(tokens["access_token"]))["active"]
    await update_client(party.client_id, subject_type="pairwise")
    await until_current(party)
    await _refused(party, tokens, code)

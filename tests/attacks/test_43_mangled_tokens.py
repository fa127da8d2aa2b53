"""Row 43: no modified, truncated or similar token is accepted, and no token is stored in plain text."""

import string
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.errors import Refused
from idp.infra.db.engine import fetch, fetchrow
from idp.keys import jose
from idp.keys.jose import InvalidJWTError
from idp.keys.key_set import key_set
from idp.oauth.token import refresh_jwt
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.oauth import RelyingParty

BASE64URL = string.ascii_letters + string.digits + "-_"


def prefixes(token: str) -> Iterator[str]:
    return (token[:length] for length in range(1, len(token)))


def bit_flips(token: str) -> Iterator[str]:
    return (
        f"{token[:place]}{chr(ord(token[place]) ^ 1 << bit)}{token[place + 1 :]}"
        for place in range(len(token))
        for bit in range(8)
    )


def respelled(token: str) -> Iterator[str]:
    """Return encodings that lenient decoders accept as the same: spare bits, padding, the other alphabet, spaces,
    trailing text.
    """
    end = BASE64URL.index(token[-1])
    yield from (token[:-1] + BASE64URL[end ^ spare] for spare in range(1, 64))
    for added in ("=", "==", "A", "AA", "AAAA", ".", "..", ".A", ",", "%00", "\u200b", "\u00a0", "~", "!", token):
        yield token + added
    for blank in (" ", "\t", "\n", "\r\n"):
        yield from (token + blank, blank + token, f"{token[:9]}{blank}{token[9:]}", f"{token[:-1]}{blank}{token[-1]}")
    yield from (token.swapcase(), token.lower(), token.upper(), token[::-1], f'"{token}"', f"Bearer {token}", token[1:])
    translated = token.translate(str.maketrans("-_", "+/"))
    if translated != token:
        yield translated


def sample(token: str) -> list[str]:
    """Few enough to send: prefixes around the end of each part and some others, a hundred flipped bits, respellings."""
    ends = {place + offset for place, char in enumerate(token) if char == "." for offset in (-1, 0, 1, 2)}
    ends |= {*range(0, len(token), 23), *range(len(token) - 6, len(token))}
    flips = list(bit_flips(token))
    step = max(len(token) // 100, 1)
    chosen = [flips[place * 8 + place % 8] for place in range(0, len(token), step)]
    return [token[:end] for end in sorted(ends) if 0 < end < len(token)] + chosen + list(respelled(token))


async def test_43_codes(client: RelyingParty, browser: Browser, alice: User) -> None:
    """All prefixes and all flipped bits; afterwards the code itself is as good as before."""
    code = await client.sign_in(browser, alice.email)
    for mangled in (*prefixes(code), *bit_flips(code), *respelled(code)):
        response = await client.redeem(mangled)
        assert response.status_code == 400, mangled
        # A NUL is refused before the code is looked up.
        assert response.json()["error"] == ("invalid_request" if "\0" in mangled else "invalid_grant"), mangled
    assert (await client.redeem(code)).status_code == 200


async def test_43_refresh_tokens(client: RelyingParty, browser: Browser, alice: User) -> None:
    """At the token endpoint, introspection and revocation; afterwards the token itself is as good as before."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    for mangled in sample(token):
        response = await client.refresh(mangled)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant"), mangled
    for mangled in (*respelled(token), token[:-1]):
        assert await client.introspect(mangled) == {"active": False}, mangled
        assert (await client.post("/revoke", token=mangled)).status_code == 200
    assert (await client.refresh(token)).status_code == 200


async def test_43_every_mangled_refresh_token_costs_no_query(
    client: RelyingParty, browser: Browser, alice: User
) -> None:
    """All variants, where they are parsed: each is refused before the database is queried."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    for mangled in (*prefixes(token), *bit_flips(token), *respelled(token)):
        assert isinstance(refresh_jwt.decode(mangled), Refused), mangled
    assert not isinstance(refresh_jwt.decode(token), Refused)


async def test_43_access_tokens(client: RelyingParty, browser: Browser, alice: User) -> None:
    """At userinfo in header and body, at introspection, and at revocation, which revokes nothing."""
    token = (await client.tokens(browser, alice.email))["access_token"]
    for mangled in sample(token):
        response = await client.http.post(f"{client.issuer}/userinfo", data={"access_token": mangled})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token"), mangled
    for mangled in (token[:-1], token[:-7], *respelled(token)):
        assert await client.introspect(mangled) == {"active": False}, mangled
        assert (await client.post("/revoke", token=mangled)).status_code == 200
        # A header value cannot have spaces around it, nor line ends in it.
        if mangled.isascii() and mangled.isprintable() and mangled.strip() != token:
            assert (await client.userinfo(mangled)).status_code == 401, mangled
    assert (await client.userinfo(token)).status_code == 200


async def test_43_every_mangled_signed_token(client: RelyingParty, browser: Browser, alice: User) -> None:
    """All variants, where they are verified: access tokens and ID tokens."""
    tokens = await client.tokens(browser, alice.email)
    for token, typ in ((tokens["access_token"], "at+jwt"), (tokens["id_token"], "JWT")):
        keys = key_set.verification()
        for mangled in (*prefixes(token), *bit_flips(token), *respelled(token)):
            with pytest.raises(InvalidJWTError):
                jose.verify(mangled, keys, typ=typ)
        assert jose.verify(token, keys, typ=typ)


async def test_43_one_kind_for_another(client: RelyingParty, browser: Browser, alice: User) -> None:
    """A token of one kind, or the parts of two, is no token of another kind."""
    tokens = await client.tokens(browser, alice.email)
    other = await client.tokens(browser, alice.email)
    spliced = ".".join([*other["access_token"].split(".")[:2], tokens["access_token"].split(".")[2]])
    for wrong in (tokens["id_token"], tokens["refresh_token"], spliced, client.client_id, "null", "undefined"):
        assert (await client.userinfo(wrong)).status_code == 401
    spliced = ".".join([*other["refresh_token"].split(".")[:2], tokens["refresh_token"].split(".")[2]])
    for wrong in (tokens["id_token"], tokens["access_token"], spliced, "null"):
        assert (await client.refresh(wrong)).status_code == 400
        assert (await client.redeem(wrong)).status_code == 400


async def test_43_session_cookies(client: RelyingParty, browser: Browser, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    value = browser.cookies["__Host-session"]

    async def signed_in(cookie: str) -> bool:
        response = await browser.client.get(
            f"{browser.issuer}/", headers={"Cookie": f"__Host-session={cookie}"}, auth=httpx.Auth()
        )
        return "/logout" in Page(response).text

    sendable = [mangled for mangled in bit_flips(value) if set(mangled) <= {*BASE64URL, "."}]
    assert len(sendable) > len(value)
    for mangled in (*prefixes(value), *sendable, f"{value}A", value * 2):
        assert not await signed_in(mangled), mangled
    assert await signed_in(value)


async def columns_with(secret: str) -> list[str]:
    """The tables in which a row shows the secret, as text or as its bytes."""
    found = []
    for row in await fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        table = row["tablename"]
        hits = await fetchrow(
            f'SELECT count(*) FROM "{table}" AS t WHERE position($1 in t::text) > 0 OR position($2 in t::text) > 0',
            secret,
            secret.encode().hex(),
        )
        if hits["count"]:
            found.append(table)
    return found


async def test_43_nothing_is_stored_readably(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The database, or a copy of it, contains no usable token, code, cookie or secret."""
    client = await make_client(scope="openid offline_access")
    cookies: dict[str, str] = {}
    page = await client.authorize(browser, scope="openid offline_access")
    assert isinstance(page, Page)
    cookies |= browser.cookies
    code = await client.sign_in(browser, alice.email, scope="openid offline_access")
    cookies |= browser.cookies
    tokens: dict[str, Any] = (await client.redeem(code)).json()
    again = (await client.refresh(tokens["refresh_token"])).json()
    secrets = {
        "code": code,
        "client secret": client.client_secret or "",
        **{f"first {name}": tokens[name] for name in ("access_token", "refresh_token", "id_token")},
        **{f"second {name}": again[name] for name in ("access_token", "refresh_token", "id_token")},
        **cookies,
        # The contents of the token besides the id of the user.
        "secret of the code": code.partition(".")[0],
        "secret of the session": cookies["__Host-session"].partition(".")[2],
    }
    assert len(cookies) >= 3
    assert {name: tables for name, secret in secrets.items() if (tables := await columns_with(secret))} == {}
    # The control: this search does find stored values.
    assert "users" in await columns_with(alice.email)

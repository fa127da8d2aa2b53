"""Row 44: no secret that is stored, and none that was handed out once, is shown again: to nobody, and nowhere.

What counts as a secret follows from the schema, so that a column that is added later is not forgotten.
"""

import asyncio
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Collection, Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyotp
import pytest

from idp.accounts import invitations
from idp.accounts.tables import User
from idp.directory import invitations as organization_invitations
from idp.infra.db.engine import execute, fetch, transaction
from idp.mail import outbox
from idp.piccolo_app import APP_CONFIG
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Page
from tests.support.directory import an_organization
from tests.support.lookups import LOOKUPS
from tests.support.mailbox import Letter, Mailbox
from tests.support.oauth import PASSWORD
from tests.support.routes import routes
from tests.support.server import Server

SECRET_NAME = re.compile("hash|secret|password|token|key|code|private|challenge|credential")
#: Names of methods and algorithms, which discovery publishes too.
PUBLIC_COLUMNS = re.compile("(_method|_alg|_at|_cookie)$")
#: A browser that registers a passkey needs the data to sign and the keys it already has (WebAuthn section 5.4).
SHOWN_ON = {
    "passkey.credential_id": {"/account/passkeys"},
    "session.challenge": {"/account/passkeys"},
}
SHORTEST = 16
COMMANDS = ["users list", "clients list", "clients show {client}", "keys list", "mail list", "db status", "settings"]


class Life(NamedTuple):
    """A user of everything: the responses of the server, and the secrets that it handed out once."""

    user: User
    browser: Browser
    client_id: str
    access_token: str
    #: By description.
    handed_out: dict[str, str]
    answers: dict[str, str]


def _page(answer: object) -> Page:
    assert isinstance(answer, Page)
    return answer


def _text(response: httpx.Response) -> str:
    headers = [f"{name}: {value}" for name, value in response.headers.multi_items() if name != "set-cookie"]
    return "\n".join([*headers, response.text, unescape(response.text)])


def _mailed(letter: Letter) -> dict[str, str]:
    return {f"link to {letter.recipient}": letter.link.partition("token=")[2]}


@pytest.fixture
async def life(
    server: Server, browser: Browser, alice: User, make_client: MakeClient, mailbox: Mailbox, http: httpx.AsyncClient
) -> AsyncIterator[Life]:
    client = await make_client(scope="openid profile email offline_access")
    tokens = await client.tokens(browser, alice.email, prompt="consent")
    new, out = f"new-{alice.email}", {"password": PASSWORD, "client secret": client.client_secret or ""}
    out |= {name: tokens[name] for name in ("access_token", "refresh_token")}

    # Secrets that are shown once are shown.
    page = _page(await browser.get("/account/totp"))
    found = re.search(r'id="totp-secret"[^>]*>\s*([A-Z2-7]{32})', page.text)
    assert found
    page = _page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(found[1]).now()))
    codes = re.findall(r"<li><code>([\w-]+)</code>", page.text)
    assert codes
    out |= {"TOTP secret": found[1]} | {f"recovery code {code[0]}": code for code in codes}

    page = _page(await browser.get("/account/passkeys"))
    options = unescape(page.text.partition('data-options="')[2].partition('"')[0])
    await browser.submit(page, "passkey-create", credential=Authenticator(origin=browser.issuer).create(options))
    await browser.submit(_page(await browser.get("/account/email")), "email-send", email=new)
    out |= _mailed(await mailbox.next(new))
    await invitations.invite(f"friend-{alice.email}")
    out |= _mailed(await mailbox.next(f"friend-{alice.email}"))
    await organization_invitations.invite((await an_organization()).id, f"colleague-{alice.email}")
    out |= _mailed(await mailbox.next(f"colleague-{alice.email}"))
    async with transaction():
        await outbox.queue(alice.email, "reset_password", code="123456", link="https://held-back.example", minutes=1)
        await execute("UPDATE mail SET next_attempt_at = now() + interval '1 hour' WHERE recipient = $1", alice.email)
    out |= {f"cookie {name}": value for name, value in browser.cookies.items()}
    # Errors are logged in more detail.
    await http.post(f"{server.issuer}/token", data={"grant_type": "refresh_token", **out}, auth=("nobody", PASSWORD))
    await client.redeem("no-such-code", password=PASSWORD)
    await http.get(f"{server.issuer}/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}x"})
    await http.get(f"{server.issuer}/reset", params={"token": out["refresh_token"]})
    answers = {"introspection": json.dumps(await client.introspect(tokens["access_token"]))}
    answers["introspection of a refresh token"] = json.dumps(await client.introspect(tokens["refresh_token"]))
    yield Life(alice, browser, client.client_id, tokens["access_token"], out | {"master key": MASTER_KEY}, answers)
    await execute("DELETE FROM mail WHERE recipient = $1 AND next_attempt_at IS NOT NULL", alice.email)


def _is_secret(name: str) -> bool:
    return bool(SECRET_NAME.search(name)) and not PUBLIC_COLUMNS.search(name)


def _leaves(value: Any, secret: bool) -> Iterator[bytes | str]:
    """The secrets in a value: the whole of it, or in JSON what has a secret's name."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "jwks":
                continue  # public keys of a client
            yield from _leaves(member, secret or _is_secret(name))
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member, secret)
    elif secret and isinstance(value, bytes | str) and len(value) >= SHORTEST:
        yield value


async def _stored(life: Life) -> dict[bytes | str, str]:
    """All secrets of the database with the names of their columns; of long tables, the person's own rows first."""
    columns = await fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type IN ('bytea', 'text', 'jsonb', 'ARRAY')"
    )
    marked = {
        (table._meta.tablename, column._meta.name)
        for table in APP_CONFIG.table_classes
        for column in table._meta.secret_columns
    }
    found: dict[bytes | str, str] = {}
    for table, name, kind in columns:
        if table in LOOKUPS:
            # Its values are those of the table that it leads to.
            continue
        secret = kind == "bytea" or _is_secret(name)
        assert secret or kind == "jsonb" or (table, name) not in marked, f"{table}.{name} is marked as a secret"
        if not secret and kind != "jsonb":
            continue
        rows = await fetch(
            f"SELECT {name} AS value FROM {table} AS t WHERE {name} IS NOT NULL"
            " ORDER BY t::text LIKE ANY(ARRAY['%' || $1 || '%', '%' || $2 || '%']) DESC LIMIT 200",
            str(life.user.id), life.client_id,
        )  # fmt: skip
        for row in rows:
            value = json.loads(row["value"]) if kind == "jsonb" else row["value"]
            found |= dict.fromkeys(_leaves(value, secret), f"{table}.{name}")
    names = set(found.values())
    assert names >= {
        "users.password_hash", "session.token_hash", "totp.secret", "recovery_code.code_hash", "passkey.public_key",
        "refresh_token.token_hash", "email_proof.token_hash", "invitation.token_hash", "mail.content",
        "organization_invitation.token_hash",
        "client.client_secret_hash", "signing_key.private_jwk", "device.token_hash", "consent.documents_hash",
    }  # fmt: skip
    return found


def _spellings(secret: bytes | str) -> set[str]:
    if isinstance(secret, str):
        return {secret}
    return {
        secret.decode("latin-1"), secret.hex(), secret.hex().upper(), b64encode(secret).decode().rstrip("="),
        urlsafe_b64encode(secret).decode().rstrip("="), repr(secret)[2:-1],
    }  # fmt: skip


def _contained(text: str, words: Collection[str]) -> Iterator[str]:
    """The words in a text, found in one pass: thousands of searches in a long log would take half a minute."""
    length = min(map(len, words))
    by_beginning: dict[str, list[str]] = {}
    for word in words:
        by_beginning.setdefault(word[:length], []).append(word)
    for place in range(len(text) - length + 1):
        for word in by_beginning.get(text[place : place + length], ()):
            if text.startswith(word, place):
                yield word


async def _shown(life: Life, server: Server, http: httpx.AsyncClient, db: str, folder: Path) -> dict[str, str]:
    """Return everything that can be seen, by its place."""
    shown = dict(life.answers)
    paths = [route.path for route in routes() if route.method == "GET" and "{" not in route.path]
    assert {"/account", "/account/totp", "/account/passkeys", "/.well-known/jwks.json"} <= set(paths)
    for path in paths:
        shown[path] = _text(await life.browser.client.get(f"{server.issuer}{path}", follow_redirects=False))
        shown[f"{path} for a stranger"] = _text(await http.get(f"{server.issuer}{path}", follow_redirects=True))
    page = _page(await life.browser.get("/account/data"))
    export = _page(await life.browser.submit(page, "data-download"))
    assert json.loads(export.text)["sessions"]
    shown["export"] = _text(export.response)
    bearer = {"Authorization": f"Bearer {life.access_token}"}
    userinfo = await http.get(f"{server.issuer}/userinfo", headers=bearer)
    assert userinfo.json()["sub"] == str(life.user.id)
    shown["userinfo"] = _text(userinfo)
    cli = Cli(folder, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})
    return shown | await _printed(cli, life)


async def _printed(cli: Cli, life: Life) -> dict[str, str]:
    async def one(command: str) -> tuple[str, str]:
        result = await asyncio.to_thread(cli, *command.format(client=life.client_id).split(), "--json")
        assert result.json
        return f"idp {command}", result.out + result.err

    return dict(await asyncio.gather(*(one(command) for command in COMMANDS)))


async def test_44_no_secret_is_shown(
    life: Life, db: str, server: Server, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    stored = await _stored(life)
    shown = await _shown(life, server, http, db, tmp_path)
    stored |= await _stored(life)
    shown["log"] = server.log
    assert str(life.user.id) in shown["log"]
    names: dict[str, set[str]] = {}
    for secret, name in (stored | {secret: name for name, secret in life.handed_out.items()}).items():
        for spelling in _spellings(secret):
            names.setdefault(spelling, set()).add(name)
    leaks = {
        f"{name} in {where}"
        for where, text in shown.items()
        for spelling in _contained(text, names)
        for name in names[spelling]
        if where not in SHOWN_ON.get(name, ())
    }
    assert leaks == set()


def test_44_what_is_searched_for_is_found() -> None:
    words = {"first secret", "first secrets", "second", "third one"}
    assert set(_contained("a first secret, the second", words)) == {"first secret", "second"}
    assert set(_contained("first secretsecond", words)) == words - {"third one"}
    assert set(_contained("third one", words)) == {"third one"}
    assert set(_contained("third on", words)) == set()


async def test_44_the_published_keys_are_public(server: Server, http: httpx.AsyncClient) -> None:
    """RFC 7518 section 6: of each kind of key, the members that may be seen."""
    keys = (await http.get(f"{server.issuer}/.well-known/jwks.json")).json()["keys"]
    assert keys
    public = {"kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"}
    assert [key.keys() - public for key in keys] == [set()] * len(keys)


async def test_44_a_client_secret_is_shown_once(db: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})
    uri = "https://app.example.com/callback"
    made = cli("clients", "create", "--name", "Once", "--redirect-uri", uri, "--json").json
    assert len(made["client_secret"]) >= 32
    for command in (["clients", "show", made["client_id"]], ["clients", "list"]):
        result = cli(*command, "--json")
        assert made["client_id"] in result.out
        assert made["client_secret"] not in result.out + result.err
        assert "secret_hash" not in result.out

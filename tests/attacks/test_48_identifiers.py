"""Row 48: all spellings of an address are one account; a lookalike is another account or refused."""

import secrets
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from idp import ids
from idp.accounts import invitations
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.import_files import Record
from idp.accounts.imports import Batch, import_users
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.accounts.users import EmailTakenError, create_user
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import execute, fetchrow
from idp.signin.factors.imports import release, store
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY, MakeUser
from tests.support.browser import Browser, Page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty

NEW_PASSWORD = "seven tired otters nap"


def _wide(text: str) -> str:
    """In the full-width letters of East Asian keyboards."""
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


#: Spellings of one address; `*` stands for a name that is unique to each test.
SAME = {
    "case": ["*@example.com", "*@EXAMPLE.COM", "*@Example.Com"],
    "letters in capitals": ["zoe.*@example.com", "ZOE.*@example.com", "Zoe.*@EXAMPLE.com"],
    "width": ["alice.*@example.com", f"{_wide('alice.')}*@example.com", f"Alice.*@{_wide('example.com')}"],
    "at sign": ["*@example.com", "*\uff20example.com"],
    "spaces around": ["*@example.com", "  *@example.com ", "\u3000*@example.com\u00a0"],
    "sharp s": ["strasse.*@example.com", "STRA\u1e9eE.*@example.com", "stra\u00dfe.*@example.com"],
    "ligature": ["fish.*@example.com", "\ufb01sh.*@example.com"],
    "long s and Kelvin": ["sink.*@example.com", "\u017fin\u212a.*@example.com"],
    "accents": ["jos\u00e9.*@example.com", "JOSE\u0301.*@example.com"],
    "sigma": ["\u03c3\u03b1\u03c3.*@example.com", "\u03a3\u0391\u03a3.*@EXAMPLE.com"],
    "IDN": ["*@b\u00fccher.example", "*@xn--bcher-kva.example", "*@BU\u0308CHER.example", "*@XN--BCHER-KVA.example"],
    "IDN with sharp s": ["*@fa\u00df.example", "*@xn--fa-hia.example"],
    "full stops": ["*@example.com", "*@example\u3002com", "*@example\uff0ecom"],
}  # fmt: skip
#: Pairs that look alike, or that some mail provider delivers to one mailbox.
DIFFERENT = {
    "plus": ("*@example.com", "*+shop@example.com"),
    "dot in the name": ("a.b.*@example.com", "ab.*@example.com"),
    "dotless i": ("ivi.*@example.com", "\u0131v\u0131.*@example.com"),
    "dotted capital i": ("ivi.*@example.com", "\u0130V\u0130.*@example.com"),
    "Cyrillic a": ("alice.*@example.com", "\u0430lice.*@example.com"),
    "Greek o": ("bob.*@example.com", "b\u03bfb.*@example.com"),
    "Cyrillic domain": ("*@apple.example", "*@\u0430pple.example"),
    "domain": ("*@example.com", "*@example.com.evil.example"),
    "sharp s in the domain": ("*@fass.example", "*@xn--fa-hia.example"),
}
#: Default_Ignorable_Code_Point of Unicode, invisible characters, and characters that change the direction of writing.
UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e"
    "\u2060\u2064\u2066\u2069\u2800\u3164\ufe00\ufe0f\ufeff\uffa0\U000e0041\U000e0100"
)
REFUSED = [
    "", "*", "@example.com", "*@", "*@@example.com", "*@example.com@evil.example", "*\uff20evil.example@example.com",
    "*@example.com,x@evil.example", "*@example.com;x@evil.example", "*@example.com x@evil.example", "*@example.com.",
    '"*"@example.com', '"* x"@example.com', '"*\\"@evil.example\\""@example.com', "<*@example.com>",
    "X <*@example.com>", "*(x)@example.com", "*@[127.0.0.1]", "*@[IPv6:::1]", "* x@example.com", "*\tx@example.com",
    "*\nx@example.com", "*@exam\r\nple.com", "*@example.com\r\nBcc: x@evil.example", ".*@example.com", "*.@example.com",
    "*..x@example.com", "*@-example.com", "*@example..com", "*@exa_mple.com", f"{'x' * 65}@example.com",
    "*@exa\u2044mple.com", "mailto:*@example.com", "*\x7f@example.com", "*\u0085x@example.com", "*@ex\u2100mple.com",
]  # fmt: skip


class People(NamedTuple):
    """Ways by which an address comes in."""

    browser: Browser
    client: RelyingParty
    mailbox: Mailbox

    async def step(self, path: str, button: str, **fields: str) -> Page:
        """Fill in a form of a fresh sign-in."""
        self.browser.cookies.clear()
        page = await self.browser.get("/login")
        assert isinstance(page, Page)
        page = await self.browser.get(f"{page.path}/{path}")
        assert isinstance(page, Page)
        answer = await self.browser.submit(page, button, **fields)
        assert isinstance(answer, Page)
        return answer

    async def register(self, email: str) -> Page:
        return await self.step("registration", "register-submit", username=email, password=NEW_PASSWORD)

    async def change(self, user: User, email: str) -> Page:
        """Request another address, as a signed-in user."""
        await self.step("password", "login-submit", username=user.email, password=PASSWORD)
        page = await self.browser.get("/account/email")
        assert isinstance(page, Page)
        answer = await self.browser.submit(page, "email-send", email=email)
        assert isinstance(answer, Page)
        return answer

    async def subject(self, email: str, password: str) -> str:
        """Return the `sub` of the user who signs in like this."""
        self.browser.cookies.clear()
        code = await self.client.sign_in(self.browser, email, password)
        tokens = (await self.client.redeem(code)).json()
        return str((await self.client.userinfo(tokens["access_token"])).json()["sub"])


@pytest.fixture
def people(browser: Browser, client: RelyingParty, mailbox: Mailbox) -> People:
    return People(browser, client, mailbox)


async def _import(*emails: str) -> Batch:
    records = [Record(line, {"email": email}) for line, email in enumerate(emails, 1)]
    (batch,) = [batch async for batch in import_users(iter(records), store, emails_of_identities, release)]
    return batch


@pytest.mark.parametrize("spellings", SAME.values(), ids=SAME)
async def test_48_spellings_of_one_address(people: People, make_user: MakeUser, spellings: list[str]) -> None:
    """One account, with every authentication method and spelling."""
    name = secrets.token_hex(5)
    first, *others = [spelling.replace("*", name) for spelling in spellings]
    page = await people.register(first)
    letter = await people.mailbox.next(normalise_email(first))
    await people.browser.submit(page, "code-submit", code=letter.code)
    owner = await user_by_email(normalise_email(first))
    assert owner is not None
    for other in others:
        assert normalise_email(other) == owner.email
        with pytest.raises(EmailTakenError):
            await create_user(other, PASSWORD)
        with pytest.raises(EmailTakenError):
            await invitations.invite(other)
        batch = await _import(other)
        assert (batch.imported, batch.existing) == (0, 1)
        assert await people.subject(other, NEW_PASSWORD) == str(owner.id)
    # Registering again and taking over the address reveal nothing and give no access.
    assert "code-submit" in (await people.register(others[-1])).ids
    await people.mailbox.about(owner.email, "already")
    bob = await make_user()
    assert "code-submit" in (await people.change(bob, others[-1])).ids
    row = await fetchrow("SELECT count(*) FROM users WHERE email = $1 OR id = $2", owner.email, bob.id)
    proof = await fetchrow("SELECT token_hash FROM email_proof WHERE user_id = $1", bob.id)
    assert row is not None
    assert proof is not None
    assert (row["count"], proof["token_hash"]) == (2, None)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
async def test_48_a_lookalike_is_another_account(people: People, make_user: MakeUser, one: str, other: str) -> None:
    """A lookalike never leads into another user's account."""
    name = secrets.token_hex(5)
    one, other = one.replace("*", name), other.replace("*", name)
    owner = await make_user(email=one)
    refused = await people.step("password", "login-submit", username=other, password=PASSWORD)
    assert refused.status == 400
    await people.step("forgot", "forgot-submit", username=other)
    stranger = await make_user(email=other, password=NEW_PASSWORD)
    assert stranger.id != owner.id
    await people.step("forgot", "forgot-submit", username=other)
    assert (await people.mailbox.next(stranger.email)).recipient != owner.email
    assert people.mailbox.to(owner.email) == []
    assert await people.subject(one, PASSWORD) == str(owner.id)
    assert await people.subject(other, NEW_PASSWORD) == str(stranger.id)


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
def test_48_nothing_that_cannot_be_seen(unseen: str) -> None:
    for email in (f"al{unseen}ice@example.com", f"alice{unseen}@example.com", f"alice@exam{unseen}ple.com"):
        with pytest.raises(InvalidEmailError):
            normalise_email(email)


async def test_48_invalid_addresses_are_refused(people: People, make_user: MakeUser) -> None:
    """Every form and API refuses them in the same way."""
    bob, name = await make_user(), secrets.token_hex(5)
    refused = [text.replace("*", name) for text in [*REFUSED, "*\u200b@example.com", "*\u202e@example.com"]]
    for email in refused:
        with pytest.raises(InvalidEmailError):
            await create_user(email, PASSWORD)
    assert (await _import(*refused)).imported == 0
    for email in [*refused[:6], *refused[-4:], f"{name}\0@example.com"]:
        assert (await people.register(email)).status == 400
        assert (await people.step("forgot", "forgot-submit", username=email)).status == 400
        assert (await people.step("email_code", "email-code-send", username=email)).status == 400
    for email in [*refused[:4], *refused[-2:], f"{name}\0@example.com"]:
        assert (await people.change(bob, email)).status == 400
    assert await fetchrow("SELECT 1 FROM users WHERE email LIKE $1", f"%{name}%") is None
    assert await fetchrow("SELECT 1 FROM mail WHERE recipient LIKE $1", f"%{name}%") is None


async def test_48_two_spellings_in_one_file() -> None:
    name = secrets.token_hex(5)
    batch = await _import(f"zo\u00e9.{name}@example.com", f"ZOE\u0301.{name}@Example.COM", f"zoe.{name}@example.com")
    assert batch.imported == 2
    assert [refusal.line for refusal in batch.refused] == [2]


async def test_48_the_index_holds(alice: User) -> None:
    """The keys of the lookup hold for future code paths, too."""
    other = ids.uuid7()
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="user_email"):
        await execute(
            "INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object('id', $2::text))).*"
            " FROM users u WHERE id = $1",
            alice.id, str(other),
        )  # fmt: skip
    with pytest.raises(asyncpg.UniqueViolationError, match="user_email_pkey"):
        await execute("INSERT INTO user_email (email, user_id) VALUES ($1, $2)", alice.email, other)


def test_48_by_the_command(db: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})
    name = secrets.token_hex(5)
    create = ("users", "create", "--generate", "--no-mail", "--json")
    assert (
        cli(*create, f"stra\u00dfe.{name}@b\u00fccher.example").json["email"] == f"strasse.{name}@xn--bcher-kva.example"
    )
    assert "already" in cli.fails(*create, f"STRA\u1e9eE.{name}@XN--BCHER-KVA.example")

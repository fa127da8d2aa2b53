"""Row 72: names that users choose cannot put a message into mails to others, and are displayed unambiguously."""

import secrets

import pytest

from idp.accounts import email_change, invitations
from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.mail.messages import compose
from idp.oauth.clients.models import Client
from idp.oauth.clients.names_in_mails import name_in_mail
from idp.signin import flow as flows
from idp.signin.browser import Browser as AnyBrowser
from idp.signin.browser import BrowserKey
from idp.signin.steps import StepRefusedError, registration
from tests.support.browser import Browser, as_page
from tests.support.mailbox import Mailbox
from tests.support.mails import MAILS

pytestmark = pytest.mark.fault(14)

PASSWORD = "seven tired otters nap"
#: Names that contain messages.
HOSTILE = {
    "a link": "Your account is locked, see https://evil.example/unlock",
    "a bare host": "Go to evil.example now",
    "www": "www evil example",
    "an address": "ask support@evil.example",
    "a number": "Call +1 (800) 555-0199",
    "a path": "evil/login",
    "turned around": "Ada \u202egro.live",
    "isolated": "Ada \u2066x\u2069",
    "not seen": "A\u200bda",
    "a line": "Ada\r\nBcc: victim@example.com",
    "a bell": "Ada\x07",
    "markup": "<b>Ada</b>",
    "a sentence": "your account has been suspended for your own safety so please do call us",
}
NAMES = (
    "Ada",
    "J.R.R. Tolkien",
    "Zoë Müller-Ott",
    "José María de la O",
    "王小明",
    "Дарья Ивановна",
    "Ada Lovelace 2",
)


@pytest.mark.parametrize("template", MAILS)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_72_no_mail_repeats_it(template: str, name: str) -> None:
    message = compose("ada@example.com", template, **(MAILS[template] | {"name": name}))
    for kind in ("plain", "html"):
        body = message.get_body([kind])
        assert body is not None
        text = body.get_content()
        assert name not in text
        assert "evil" not in text
        assert not any(letter in text for letter in "\u202e\u2066\u200b\x07")
    assert "evil" not in str(message["Subject"])


@pytest.mark.parametrize("name", NAMES)
def test_72_a_name_is_a_name(name: str) -> None:
    body = compose("ada@example.com", "welcome", name=name).get_body(["plain"])
    assert body is not None
    assert f"Hello {name}," in body.get_content()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, object]]:
    """Record the context of each mail, by its template."""
    found: dict[str, dict[str, object]] = {}

    async def note(to: str, template: str, **more: object) -> None:
        found[template] = more

    monkeypatch.setattr(outbox, "queue", note)
    return found


async def test_72_unproved_addresses_are_told_no_name(alice: User, context: dict[str, dict[str, object]]) -> None:
    """The reader of such a mail may not be the person who entered the name."""
    client_address.set(f"10.3.{secrets.randbelow(256)}.{secrets.randbelow(256)}")
    email = f"{secrets.token_hex(6)}@example.com"
    flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
    fields = {"username": email, "password": PASSWORD, "name": "Ada"}
    await registration.complete(flow, await registration.verify(flow, fields, AnyBrowser()))
    await email_change.send_confirmation(alice, f"new-{email}", uuid7())
    assert context.keys() == {"verify_email", "email_change_confirm"}
    assert all("name" not in given for given in context.values())


async def test_72_an_invitation_is_called_as_the_administrator_wrote(context: dict[str, dict[str, object]]) -> None:
    await invitations.invite(f"{secrets.token_hex(6)}@example.com", "Ada")
    assert context["invitation"]["name"] == "Ada"


@pytest.mark.parametrize("name", ["Ada \u202egro.live", "A\u200bda", "Ada\x07", "x" * 201])
async def test_72_no_such_name_is_kept(db: str, name: str) -> None:
    """In the console and on other pages it would reverse the adjacent text."""
    client_address.set(f"10.4.{secrets.randbelow(256)}.{secrets.randbelow(256)}")
    flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
    fields = {"username": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD, "name": name}
    with pytest.raises(StepRefusedError, match="cannot be shown"):
        await registration.verify(flow, fields, AnyBrowser())


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_72_nor_that_of_an_application(name: str) -> None:
    """Strangers choose the names of clients that register themselves, and what a document says."""
    for origin in ("dynamic", "document"):
        client = Client(client_id="c", client_name=name, origin=origin)
        assert name_in_mail(client) is None
    message = compose("ada@example.com", "signed_out_for_safety", name="Ada", client_name=None)
    assert message["Subject"] == "We signed an application out for safety"


@pytest.mark.parametrize("origin", ["admin", "dynamic"])
def test_72_a_plain_name_of_an_application(origin: str) -> None:
    assert name_in_mail(Client(client_id="c", client_name="Notes for Zoë", origin=origin)) == "Notes for Zoë"


async def test_72_the_mail_that_arrives(browser: Browser, mailbox: Mailbox) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/registration"))
    await browser.submit(page, "register-submit", username=email, password=PASSWORD, name="See evil.example")
    letter = await mailbox.next(email)
    assert "evil" not in str(letter.message)

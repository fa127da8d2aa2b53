"""Messages, from templates to the bytes that an SMTP server receives."""

from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

import idp
from idp.infra.templates import templates_path
from idp.mail.messages import compose
from tests.mail.conftest import UseSettings
from tests.support.mails import MAILS

pytestmark = pytest.mark.usefixtures("use_settings")


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_every_template_is_tested() -> None:
    shipped = {path.stem for path in (templates_path() / "mail").iterdir()} - {"base"}
    assert shipped == set(MAILS)


@pytest.mark.parametrize("template", MAILS)
def test_every_template_has_a_use(template: str) -> None:
    assert [path for path in Path(idp.__file__).parent.rglob("*.py") if f'"{template}"' in path.read_text()]


@pytest.mark.parametrize(("template", "context"), MAILS.items())
def test_every_template_makes_a_message(template: str, context: dict[str, Any]) -> None:
    message = compose("alice@example.com", template, name="Alice", **context)
    again = message_from_bytes(message.as_bytes(), policy=SMTP)
    assert isinstance(again, EmailMessage)
    assert again["To"].addresses == (Address(addr_spec="alice@example.com"),)
    assert again["From"].addresses == (Address("Example", addr_spec="no-reply@example.com"),)
    assert again["Subject"]
    assert again["Message-ID"].endswith("@id.example.com>")
    assert again["Date"].datetime.tzinfo is not None
    assert again["Auto-Submitted"] == "auto-generated"
    for kind in ("plain", "html"):
        assert "Hello Alice," in body(again, kind)
        assert "https://id.example.com" in body(again, kind)
    lines = body(again, "plain").splitlines()
    for value in (context.get("link"), context.get("code")):
        # A link to click or a code to copy is on its own line.
        assert value is None or value in lines


def test_without_a_name_the_salutation_is_the_address() -> None:
    assert "Hello alice@example.com," in body(compose("alice@example.com", "welcome", name=None), "plain")
    assert "Hello alice@example.com," in body(compose("alice@example.com", "welcome"), "plain")


def test_no_two_messages_have_the_same_id() -> None:
    assert len({compose("alice@example.com", "welcome")["Message-ID"] for _ in range(20)}) == 20


def test_names_are_text_and_nothing_else() -> None:
    """No markup in the HTML, no entities in the subject or the plain text, no additional headers."""
    name = '<b>"A" & B</b>\r\nBcc: eve@example.com'
    message = compose("alice@example.com", "signed_out_for_safety", name=name, client_name=name)
    assert "<b>" not in body(message, "html")
    assert '<b>"A" & B</b>' in body(message, "plain")
    assert '<b>"A" & B</b> Bcc: eve@example.com' in message["Subject"]
    again = message_from_bytes(message.as_bytes(), policy=SMTP)
    assert again["Bcc"] is None
    assert again["To"].addresses == (Address(addr_spec="alice@example.com"),)


def test_an_address_cannot_add_a_header() -> None:
    with pytest.raises(ValueError, match="Header"):
        compose("alice@example.com\r\nBcc: eve@example.com", "welcome")


def test_links_come_from_the_issuer(use_settings: UseSettings) -> None:
    use_settings(issuer="https://login.example.org")
    message = compose("alice@example.com", "welcome")
    assert "https://login.example.org" in body(message, "plain")
    assert message["Message-ID"].endswith("@login.example.org>")

"""Messages, from templates to the bytes that an SMTP server receives."""

import re
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

import idp
from idp.infra.i18n import locale
from idp.infra.templates import templates, templates_path
from idp.mail.messages import compose
from tests.mail.conftest import UseSettings
from tests.support.mails import MAILS

pytestmark = pytest.mark.usefixtures("use_settings")


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_every_template_is_tested() -> None:
    shipped = {path.stem for path in (templates_path() / "mail").iterdir()} - {"base", "custom", "footer", "parts"}
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


@pytest.mark.parametrize(
    "to",
    ["=?utf-8?q?victim?=@example.com", "=?utf-8?q?eve=40evil.example=2c?=@example.com", '"=?x?q?a?="@example.com'],
)
def test_an_encoded_word_is_no_recipient(to: str) -> None:
    """Decoded, it is another mailbox, or several. An address of an older version can have one."""
    with pytest.raises(ValueError, match="Header"):
        compose(to, "welcome")


def test_an_encoded_word_in_a_subject_is_not_decoded() -> None:
    name = "=?utf-8?q?Win=0d=0aReply-To=3aeve=40evil=2eexample?="
    sent = bytes(compose("alice@example.com", "signed_out_for_safety", name="Alice", client_name=name))
    again = message_from_bytes(sent, policy=SMTP)
    assert again["Reply-To"] is None
    assert "= ?utf-8?q?Win" in again["Subject"]
    assert "evil.example" not in again["Subject"]


def test_links_come_from_the_issuer(use_settings: UseSettings) -> None:
    use_settings(issuer="https://login.example.org")
    message = compose("alice@example.com", "welcome")
    assert "https://login.example.org" in body(message, "plain")
    assert message["Message-ID"].endswith("@login.example.org>")


@pytest.mark.parametrize(("template", "context"), MAILS.items())
def test_every_style_is_on_its_tag(template: str, context: dict[str, Any]) -> None:
    """Outlook reads no style sheet. Only dark colours are in one."""
    html = body(compose("alice@example.com", template, name="Alice", **context), "html")
    tags = re.findall(r"<(?:p|h1|a)(?:\s[^>]*)?>", html)
    assert tags
    assert [tag for tag in tags if " style=" not in tag] == []
    assert html.count('bgcolor="#0f5568"') == html.count('class="button"')


def test_the_brand_is_in_the_mail() -> None:
    brand = {
        "name": "Acme Ltd", "color": "#ffd400", "logo_uri": "https://acme.example/logo.png",
        "support_uri": "mailto:help@acme.example", "imprint_uri": "https://acme.example/imprint",
        "help_uri": "javascript:alert(1)",
    }  # fmt: skip
    message = compose("alice@example.com", "invitation", brand=brand, **MAILS["invitation"])
    html, text = body(message, "html"), body(message, "plain")
    assert '<img class="logo" src="https://acme.example/logo.png"' in html
    assert 'bgcolor="#ffd400"' in html
    # White text on yellow cannot be read.
    assert "color:#101c22;text-decoration:none" in html
    assert '<a href="mailto:help@acme.example"' in html
    assert "Imprint: https://acme.example/imprint" in text
    assert "--\nAcme Ltd\nhttps://id.example.com\n" in text
    assert "javascript" not in html + text


def test_without_a_brand_it_is_that_of_the_server(use_settings: UseSettings) -> None:
    use_settings(product_name="Northwind", theme_color="#c2185b", logo_url="/static/logo.png")
    templates.cache_clear()
    try:
        html = body(compose("alice@example.com", "welcome"), "html")
    finally:
        templates.cache_clear()
    assert 'src="https://id.example.com/static/logo.png"' in html
    assert "color:#c2185b" in html
    assert "<bdi>Northwind</bdi>" in html


def test_a_logo_that_mail_programs_do_not_show_is_left_out() -> None:
    assert "<img" not in body(
        compose("a@example.com", "welcome", brand={"logo_uri": "https://a.example/l.SVG"}), "html"
    )


def test_lists_of_mails_show_what_follows_the_salutation() -> None:
    html = body(compose("alice@example.com", "sign_in_code", **MAILS["sign_in_code"]), "html")
    (hidden,) = re.findall(r'mso-hide:all">([^<]*)<', html)
    assert "123456" in hidden
    assert "Hello" not in hidden


def test_the_direction_is_in_the_tables_too() -> None:
    """Web mail drops the html element."""
    locale.set("en")
    html = body(compose("alice@example.com", "welcome"), "html")
    assert (
        '<table class="page" role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" dir="ltr"'
        in html
    )
    assert 'align="left"' in html

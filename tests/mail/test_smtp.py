"""Sending to real SMTP servers, with TLS and without."""

from email.message import EmailMessage

import pytest

from idp.mail import smtp
from idp.settings import SettingsError
from tests.mail.conftest import PASSWORD, USERNAME, Certificate, StartSMTP

LOGIN = "post%40example.com:p%40ss%3Aw%2Frd@"


@pytest.fixture
def message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Example <no-reply@example.com>"
    message["To"] = "alice@example.com"
    message["Subject"] = "Hello"
    message.set_content("Good day")
    return message


async def send(message: EmailMessage, url: str) -> None:
    await smtp.send(message, url, greeting="id.example.com")


async def test_a_server_without_tls(message: EmailMessage, start_smtp: StartSMTP) -> None:
    inbox = await start_smtp()
    await send(message, f"smtp://localhost:{inbox.port}")
    (envelope,) = inbox.envelopes
    assert envelope.mail_from == "no-reply@example.com"
    assert envelope.rcpt_tos == ["alice@example.com"]
    assert b"Good day" in envelope.content
    assert inbox.greetings == ["id.example.com"]
    assert inbox.encrypted == [False]


async def test_starttls_is_used_where_it_is_offered(
    message: EmailMessage, start_smtp: StartSMTP, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    inbox = await start_smtp(tls_context=certificate.context)
    for query in ("", "?starttls=require"):
        await send(message, f"smtp://localhost:{inbox.port}{query}")
    await send(message, f"smtp://localhost:{inbox.port}?starttls=never")
    assert inbox.encrypted == [True, True, False]


@pytest.mark.parametrize(("scheme", "option"), [("smtp", "tls_context"), ("smtps", "implicit_tls")])
async def test_a_certificate_that_is_not_trusted_is_a_plain_error(
    message: EmailMessage, start_smtp: StartSMTP, certificate: Certificate, scheme: str, option: str
) -> None:
    """After STARTTLS too. It is tried again: the certificate may be mended."""
    inbox = await start_smtp(**{option: certificate.context})
    with pytest.raises(smtp.MailNotSentError, match="certificate verify failed") as caught:
        await send(message, f"{scheme}://localhost:{inbox.port}")
    assert not caught.value.final
    assert inbox.envelopes == []


async def test_starttls_can_be_required(message: EmailMessage, start_smtp: StartSMTP) -> None:
    inbox = await start_smtp()
    with pytest.raises(smtp.MailNotSentError):
        await send(message, f"smtp://localhost:{inbox.port}?starttls=require")
    assert inbox.envelopes == []


@pytest.mark.fault(27)
async def test_an_address_that_the_server_cannot_take_is_final(message: EmailMessage, start_smtp: StartSMTP) -> None:
    """Without SMTPUTF8 (RFC 6531) no attempt can succeed; with it the mail is sent."""
    del message["To"]
    message["To"] = "zoë@example.com"
    inbox = await start_smtp()
    with pytest.raises(smtp.MailNotSentError) as refused:
        await send(message, f"smtp://localhost:{inbox.port}")
    assert refused.value.final
    able = await start_smtp(enable_SMTPUTF8=True)
    await send(message, f"smtp://localhost:{able.port}")
    assert able.envelopes[0].rcpt_tos == ["zoë@example.com"]


@pytest.mark.fault(27)
async def test_starttls_that_is_missing_today_is_not_final(message: EmailMessage, start_smtp: StartSMTP) -> None:
    inbox = await start_smtp()
    with pytest.raises(smtp.MailNotSentError) as refused:
        await send(message, f"smtp://localhost:{inbox.port}?starttls=require")
    assert not refused.value.final


async def test_tls_from_the_start(
    message: EmailMessage, start_smtp: StartSMTP, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = await start_smtp(implicit_tls=certificate.context)
    with pytest.raises(smtp.MailNotSentError):
        await send(message, f"smtps://localhost:{inbox.port}")
    assert inbox.envelopes == []
    # The same server, once its certificate is trusted.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    await send(message, f"smtps://localhost:{inbox.port}")
    assert inbox.encrypted == [True]


async def test_credentials_are_sent_as_they_are_meant(
    message: EmailMessage, start_smtp: StartSMTP, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    inbox = await start_smtp(tls_context=certificate.context, auth_required=True)
    await send(message, f"smtp://{LOGIN}localhost:{inbox.port}")
    assert inbox.logins == [(USERNAME.encode(), PASSWORD.encode())]
    assert len(inbox.envelopes) == 1
    with pytest.raises(smtp.MailNotSentError):
        await send(message, f"smtp://post:wrong@localhost:{inbox.port}")
    assert len(inbox.envelopes) == 1


def test_a_password_crosses_no_network_in_the_clear() -> None:
    """Otherwise an attacker who removes STARTTLS from the response would read the password."""
    assert smtp.connection_options("smtp://a:b@mail.example.com")["start_tls"] is True
    assert smtp.connection_options("smtp://a:b@mail.example.com?starttls=never")["start_tls"] is False
    assert smtp.connection_options("smtp://a:b@127.0.0.1")["start_tls"] is None
    assert smtp.connection_options("smtp://mail.example.com")["start_tls"] is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com",
        "mail.example.com:587",
        "http://mail.example.com",
        "smtp://",
        "smtp:mail.example.com",
        "smtp://mail.example.com:x",
        "smtp://mail.example.com:99999",
        "smtp://mail.example.com?starttls=maybe",
        "smtp://mail.example.com?tls=yes",
    ],
)
def test_urls_that_mean_nothing(url: str) -> None:
    with pytest.raises(SettingsError, match="IDP_SMTP_URL"):
        smtp.connection_options(url)

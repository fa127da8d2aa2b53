"""Sending later: into the network, into a folder, or not at all; and never in anybody's way."""

import asyncio
import mailbox
from email import message_from_binary_file
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from structlog.testing import capture_logs

from idp.mail import deliver
from idp.mail.deliver import captured_mail, finish, send_later
from tests.mail.conftest import StartSMTP, UseSettings


async def test_a_message_reaches_the_server(use_settings: UseSettings, start_smtp: StartSMTP) -> None:
    inbox = await start_smtp()
    use_settings(smtp_url=f"smtp://localhost:{inbox.port}")
    send_later("alice@example.com", "welcome", name="Alice")
    assert inbox.envelopes == []
    await finish()
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == ["alice@example.com"]
    assert b"Hello Alice," in envelope.content


async def test_an_address_beyond_ascii(use_settings: UseSettings, start_smtp: StartSMTP) -> None:
    inbox = await start_smtp(enable_SMTPUTF8=True)
    use_settings(smtp_url=f"smtp://localhost:{inbox.port}")
    send_later("jos\u00e9@xn--bcher-kva.example", "welcome", name="Jos\u00e9")
    await finish()
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == ["jos\u00e9@xn--bcher-kva.example"]


async def test_in_development_it_is_captured(use_settings: UseSettings) -> None:
    use_settings(dev="true")
    for name in ("Alice", "Bob"):
        send_later(f"{name}@example.com", "welcome", name=name)
    await finish()
    box = mailbox.Maildir(captured_mail(), factory=lambda file: message_from_binary_file(file, policy=SMTP))
    messages = [message for message in box if isinstance(message, EmailMessage)]
    assert sorted(str(message["To"]) for message in messages) == ["Alice@example.com", "Bob@example.com"]


async def test_without_a_server_the_log_says_so(use_settings: UseSettings) -> None:
    with capture_logs() as lines:
        send_later("alice@example.com", "welcome")
        await finish()
    assert lines == [{"event": "mail_not_configured", "log_level": "warning", "template": "welcome"}]
    assert not captured_mail().exists()


@pytest.mark.parametrize(
    ("template", "smtp_url", "error"),
    [
        ("welcome", "smtp://127.0.0.1:1", "SMTPConnectError"),
        ("welcome", "nonsense", "SettingsError"),
        ("no-such-template", "smtp://127.0.0.1:1", "TemplateNotFound"),
        ("signed_out_for_safety", "smtp://127.0.0.1:1", "UndefinedError"),
    ],
)
async def test_a_failure_is_logged_and_harms_nobody(
    use_settings: UseSettings, template: str, smtp_url: str, error: str
) -> None:
    use_settings(smtp_url=smtp_url)
    with capture_logs() as lines:
        send_later("alice@example.com", template)
        await finish()
    assert lines == [{"event": "mail_failed", "log_level": "error", "template": template, "error": error}]


async def test_there_is_a_bound(use_settings: UseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "MAX_WAITING", 3)
    with capture_logs() as lines:
        for _ in range(5):
            send_later("alice@example.com", "welcome")
        assert [line["event"] for line in lines] == ["mail_dropped"] * 2
        await finish()
    assert [line["event"] for line in lines[2:]] == ["mail_not_configured"] * 3


async def test_nobody_waits(use_settings: UseSettings) -> None:
    """Whoever sends goes on at once, even while the server keeps silent."""
    silent = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    use_settings(smtp_url=f"smtp://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    send_later("alice@example.com", "welcome")
    (task,) = deliver._under_way
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    task.cancel()
    await asyncio.wait([task])
    assert not deliver._under_way
    silent.close()

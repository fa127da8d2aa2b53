"""Captured mail is shown as text, whatever it contains."""

import asyncio
import mailbox
import os
import re
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.browser import Browser, Page
from tests.support.server import Server, clean_environment


async def get(visitor: Browser, path: str) -> Page:
    page = await visitor.get(path)
    assert isinstance(page, Page)
    return page


@pytest.fixture
def box(dev: Server, folder: Path) -> mailbox.Maildir:
    (folder / "data" / "mail").mkdir(exist_ok=True)
    for part in ("tmp", "new", "cur"):
        (folder / "data" / "mail" / part).mkdir(exist_ok=True)
    return mailbox.Maildir(folder / "data" / "mail")


async def _run_idp(dev: Server, folder: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "idp",
        *arguments,
        cwd=folder,
        env=clean_environment()
        | {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "IDP_DATA_DIR": str(folder / "data"),
            "IDP_KEYS_DIR": str(folder / "keys"),
            "IDP_ISSUER": dev.issuer,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def test_mail_of_a_command_is_captured_and_shown(visitor: Browser, dev: Server, folder: Path) -> None:
    await _run_idp(dev, folder, "users", "create", "new@example.com", "--name", "New <b>Person</b>", "--generate")
    page = await get(visitor, "/dev/mail")
    assert "new@example.com" in page.text
    # Another test may have put other mails there.
    (path,) = re.findall(r'href="/dev/mail/([^"]+)"(?:(?!href=).)*new@example\.com', page.text, re.DOTALL)
    message = await get(visitor, f"/dev/mail/{path}")
    assert "new@example.com" in message.text
    # The address is not proved yet, so the mail does not repeat the name.
    assert "Person" not in message.text
    raw = await get(visitor, f"/dev/mail/{path}/raw")
    assert raw.text.startswith(("Content-Type:", "Subject:"))


async def test_the_newest_message_is_first(visitor: Browser, box: mailbox.Maildir) -> None:
    """The order is that of the capture, regardless of the date of the message."""
    for when, subject in ((3_000_000_000, "the newest"), (2_900_000_000, "the older")):
        key = box.add(f"To: a@b.example\nSubject: {subject}\n\nx".encode())
        os.utime(Path(box._path) / "new" / key, (when, when))
    text = (await get(visitor, "/dev/mail")).text
    assert text.index("the newest") < text.index("the older")


async def test_a_hostile_message_is_only_text(visitor: Browser, box: mailbox.Maildir) -> None:
    key = box.add(
        b'From: "<i>" <a@b.example>\nTo: "<img src=x onerror=t()>" <a@b.example>\n'
        b"Subject: <script>s()</script>\nDate: <b>never</b>\n\n<svg onload=b()> javascript:alert(1)"
    )
    for path in ("/dev/mail", f"/dev/mail/{key}"):
        page = await get(visitor, path)
        assert page.status == 200
        assert "&lt;script&gt;s()" in page.text
        assert "&lt;img src=x" in page.text
        for tag in ("<script", "<img src=x", "<svg onload", "<i>", "<b>never", 'href="javascript:'):
            assert tag not in page.text
    raw = await get(visitor, f"/dev/mail/{key}/raw")
    assert raw.response.headers["content-type"].startswith("text/plain")
    assert raw.response.headers["x-content-type-options"] == "nosniff"
    assert raw.response.headers["cache-control"] == "no-store"


MALFORMED = {
    "address": b"To: <\nSubject: s\n\nhello there",
    "quote": b'To: "\nFrom: a@[\nSubject: s\n\nhello there',
    "bytes": b"To: \xff\xfe\nSubject: \xff\n\nhello there \xff",
    "address and bytes": b"To: \xff <\nSubject: s\n\nhello there",
    "charset": b"Content-Type: text/plain; charset=no-such\n\nhello there \xff",
    "disposition": b"Content-Disposition: \n\nhello there",
    "date": b"Date: Mon, 99 Foo 99999 99:99 +99999999\n\nhello there",
    "multipart": b"Content-Type: multipart/mixed\n\nhello there",
    "no header": b"\nhello there",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_message_is_shown_and_hides_no_other(
    visitor: Browser, box: mailbox.Maildir, raw: bytes
) -> None:
    """Python's parser raises various errors on these."""
    key = box.add(raw)
    listed = await get(visitor, "/dev/mail")
    assert listed.status == 200
    assert key in listed.text
    page = await get(visitor, f"/dev/mail/{key}")
    assert page.status == 200
    assert "hello there" in page.text
    assert "None" not in page.text


@pytest.mark.parametrize("path", ["nothing", "..%2f..%2fdemo.json", "%2e%2e", "%00", "new", "x/raw"])
async def test_a_message_is_looked_up_and_never_a_path(visitor: Browser, path: str) -> None:
    page = await get(visitor, f"/dev/mail/{path}")
    assert page.status in (400, 404)
    assert "client_secret" not in page.text


async def test_the_html_is_shown_in_a_sandbox(visitor: Browser, box: mailbox.Maildir) -> None:
    message = EmailMessage()
    message["Subject"] = "Shown"
    message.set_content("the text")
    message.add_alternative(
        "<html><head><style>@media (prefers-color-scheme: dark) { p { color: red } }</style></head>"
        "<p>the HTML<script>alert(1)</script>",
        subtype="html",
    )
    key = box.add(message.as_bytes())
    page = await get(visitor, f"/dev/mail/{key}?scheme=dark")
    assert f'src="/dev/mail/{key}/html?scheme=dark"' in page.text
    assert "the text" in page.text
    for scheme, query in (("dark", "@media all"), ("light", "@media not all"), ("<svg>", "@media not all")):
        framed = await get(visitor, f"/dev/mail/{key}/html?scheme={scheme}")
        assert query in framed.text
        policy = framed.response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-popups" in policy
        assert "allow-scripts" not in policy
        assert "script-src" not in policy
    plain = box.add(b"Subject: plain\n\nx")
    assert "<iframe" not in (await get(visitor, f"/dev/mail/{plain}")).text
    assert (await get(visitor, f"/dev/mail/{plain}/html")).status == 404

"""The operations on mail templates and test emails."""

import asyncio
from typing import Any

from tests.admin.api.conftest import Caller
from tests.support.mailbox import Mailbox

_PATH = "/mail_templates/welcome.fr"


async def test_a_reset_template_keeps_counting_versions(owner: Caller) -> None:
    """A tag from before a change and its reset is outdated, though the content is the same."""

    async def set_and_reset() -> None:
        body = {"subject": "Bonjour", "html": "<p>Bonjour</p>", "text": "Bonjour"}
        saved = await owner.changed("PUT", _PATH, body)
        assert saved.status_code == 200, saved.text
        assert (await owner.changed("DELETE", _PATH)).status_code == 204

    await set_and_reset()
    before = await owner("GET", _PATH)
    await set_and_reset()
    after = await owner("GET", _PATH)
    assert (before.json()["version"] + 2, before.json()["subject"]) == (
        after.json()["version"],
        after.json()["subject"],
    )
    late = {"subject": "late", "html": "<p>late</p>", "text": "late"}
    assert (await owner("PUT", _PATH, late, If_Match=before.headers["etag"])).status_code == 412
    assert (await owner.changed("PUT", _PATH, late)).status_code == 200
    assert (await owner.changed("DELETE", _PATH)).status_code == 204


async def _test_mails(owner: Caller) -> list[dict[str, Any]]:
    """Return the details of the events of test mails, also of other tests."""
    return [each["detail"] for each in (await owner("GET", "/audit?event=mail_test_sent")).json()["items"]]


async def test_test_emails_to_one_address_are_limited(owner: Caller, mailbox: Mailbox) -> None:
    for _ in range(3):
        sent = await owner("POST", "/outbox/test", {"email": "one@example.com"})
        assert sent.json()["accepted"] is True
    assert (await owner("POST", "/outbox/test", {"email": "One@example.com"})).status_code == 429
    # It is written within a second.
    async with asyncio.timeout(30):
        while not (told := [each for each in await _test_mails(owner) if each["to"] == "o…@example.com"]):
            await asyncio.sleep(0.05)
    assert "one@example.com" not in str(told)

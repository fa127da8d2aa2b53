"""Email proofs: their owner, and the constraints of their table."""

import secrets

import asyncpg
import pytest

from idp import ids
from idp.accounts import email_proofs, recovery
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.mail import outbox
from idp.mail.messages import compose
from tests.conftest import MakeUser

pytestmark = pytest.mark.fault(12)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The token of the link in the newest mail to each address."""
    found: dict[str, str] = {}

    async def note(to: str, template: str, *, link: str, code: str | None, **more: object) -> None:
        assert code is None, "there is no page to type it on"
        found[to] = link.partition("token=")[2]

    monkeypatch.setattr(outbox, "queue", note)
    return found


async def test_resets_by_administrators_do_not_replace_each_other(
    alice: User, make_user: MakeUser, links: dict[str, str]
) -> None:
    users = [alice, *[await make_user() for _ in range(3)]]
    for user in users:
        await recovery.send_reset_to_user(user)
    for user in users:
        proved = await email_proofs.verify_token(links[user.email], Purpose.PASSWORD_RESET)
        assert proved is not None
        assert (proved.user_id, proved.email, proved.flow_id) == (user.id, user.email, None)


async def test_their_mail_has_no_code() -> None:
    link = "https://id.example.com/reset?token=abc"
    with_code = compose("a@example.com", "reset_password", code="123456", link=link, minutes=60)
    without = compose("a@example.com", "reset_password", code=None, link=link, minutes=60)
    for kind in ("plain", "html"):
        texts = [message.get_body([kind]).get_content() for message in (with_code, without)]  # type: ignore[union-attr]
        assert [link in text for text in texts] == [True, True]
        assert ["123456" in text for text in texts] == [True, False]
        assert "None" not in texts[1]


async def test_one_s_own_mail_takes_the_place_of_the_one_before(alice: User, links: dict[str, str]) -> None:
    await recovery.send_reset_to_user(alice)
    first = links[alice.email]
    await recovery.send_reset_to_user(alice)
    assert await email_proofs.verify_token(first, Purpose.PASSWORD_RESET) is None
    assert await email_proofs.verify_token(links[alice.email], Purpose.PASSWORD_RESET) is not None


async def test_one_that_was_asked_for_in_a_sign_in_stays(alice: User, links: dict[str, str]) -> None:
    sent = await email_proofs.create(
        Purpose.PASSWORD_RESET, alice.email, lifetime=60, flow_id=secrets.token_hex(6), user_id=alice.id
    )
    await recovery.send_reset_to_user(alice)
    assert await email_proofs.verify_token(sent.token, Purpose.PASSWORD_RESET) is not None


_INSERT = """
    INSERT INTO email_proof (id, purpose, flow_id, user_id, email, code_hash, token_hash, expires_at)
    VALUES ($1, 'sign_in', $2, $3, 'a@example.com', $4, $5, now() + interval '1 hour')
"""


@pytest.mark.parametrize(
    ("flow_id", "of_user", "code_hash", "token_hash", "constraint"),
    [
        ("", True, None, None, "email_proof_flow"),
        (None, True, b"c", None, "email_proof_code"),
        (None, False, None, b"t", "email_proof_link"),
    ],
)
async def test_proofs_without_an_owner_are_refused(
    alice: User, flow_id: str | None, of_user: bool, code_hash: bytes | None, token_hash: bytes | None, constraint: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        await execute(_INSERT, ids.uuid7(), flow_id, alice.id if of_user else None, code_hash, token_hash)

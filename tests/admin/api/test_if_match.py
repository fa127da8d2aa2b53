"""``If-Match`` is compared in the change itself: a change that comes in between refuses the later one."""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from idp.accounts import profile
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.errors import IdpError, VersionConflictError
from idp.events import repository as stored_webhooks
from idp.events import webhooks
from idp.infra.db.engine import execute
from idp.oauth.sign_out import sign_out_for_deletion
from idp.provisioning import targets
from idp.provisioning.repository import targets as stored_targets


async def _deleted_user() -> None:
    user: User = await create_user(f"{secrets.token_hex(6)}@example.com", None)
    await execute("UPDATE users SET name = 'Changed', updated_at = clock_timestamp() WHERE id = $1", user.id)
    await profile.delete_user(user.id, sign_out_for_deletion, expected_at=user.updated_at)


async def _webhook() -> None:
    webhook_id, _ = await webhooks.add(f"https://{secrets.token_hex(6)}.example/", ["key_revoked"])
    before = await stored_webhooks.webhook(webhook_id)
    assert before is not None
    await webhooks.update(webhook_id, description="Mine", expected_at=before.updated_at)
    try:
        await webhooks.update(webhook_id, description="Late", expected_at=before.updated_at)
    finally:
        after = await stored_webhooks.webhook(webhook_id)
        assert after is not None
        assert after.description == "Mine"
        await webhooks.remove(webhook_id)


async def _provisioning_target() -> None:
    name = f"Target {secrets.token_hex(6)}"
    target_id = await targets.create(name, "https://app.example/scim/v2", "the-token")
    before = await stored_targets.target(target_id)
    assert before is not None
    await targets.update(target_id, {"mends": True}, expected_at=before.updated_at)
    try:
        await targets.update(target_id, {"name": f"{name} late"}, expected_at=before.updated_at)
    finally:
        after = await stored_targets.target(target_id)
        assert after is not None
        assert (after.name, after.mends) == (name, True)
        await targets.delete(target_id)


@pytest.mark.parametrize("change", [_deleted_user, _webhook, _provisioning_target])
async def test_a_change_in_between(db: str, change: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(IdpError) as error:
        await change()
    assert isinstance(error.value, VersionConflictError)

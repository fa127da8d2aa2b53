"""The connection to a target: its token, its features, and what follows when it accepts or refuses the token."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from idp import clock
from idp.audit.events import record
from idp.delivery.handlers import DeliveryFailedError, DeliveryRejectedError
from idp.infra.db.engine import transaction
from idp.infra.outbound import Client
from idp.keys import vault
from idp.provisioning.models import Features, Target
from idp.provisioning.protocol import MAX_BYTES, Remote, UnauthorizedError
from idp.provisioning.repository import targets as repository

#: Time for which the ServiceProviderConfig of a target is remembered.
REMEMBERED: Final = timedelta(days=1)
_REFUSED: Final = "It does not accept the token: "


def context_of(id: UUID) -> str:
    """Return the context under which the token of a target is encrypted."""
    return f"provisioning_target.token:{id}"


async def enabled(id: UUID) -> Target:
    """Return a target that gets users.

    Raises:
        DeliveryRejectedError: it is deleted or disabled.
    """
    target = await repository.target(id)
    if target is None or target.disabled_at is not None:
        raise DeliveryRejectedError("The target is deleted or disabled.")
    return target


async def connect(http: Client, target: Target, *, max_bytes: int = MAX_BYTES, fresh: bool = False) -> Remote:
    """Return the SCIM server of a target. What it says of itself is read once a day.

    Args:
        fresh: read it now.

    Raises:
        UnauthorizedError: it does not accept the token.
        DeliveryFailedError: it does not respond, or was changed since ``target`` was read.
    """
    encrypted = await repository.encrypted_token(target)
    if encrypted is None:
        raise DeliveryFailedError("The target has changed, or is deleted.")
    token = vault.decrypt(encrypted, context_of(target.id)).decode()
    known = target.features_at is not None and clock.now() - target.features_at < REMEMBERED
    if known and target.features is not None and not fresh:
        return Remote(http, target.base_url, token, target.features, max_bytes=max_bytes)
    features = await Remote(http, target.base_url, token, Features(), max_bytes=max_bytes).read_features()
    await repository.set_features(target.id, features)
    return Remote(http, target.base_url, token, features, max_bytes=max_bytes)


async def refused(target: Target, error: UnauthorizedError) -> DeliveryFailedError:
    """Record that a target does not accept the token, and return the error of the delivery."""
    await failing(target, f"{_REFUSED}{error}")
    return DeliveryFailedError(f"{_REFUSED}{error}")


async def failing(target: Target, reason: str) -> None:
    """Record why nothing can be sent to a target. The audit trail has the beginning."""
    async with transaction():
        if await repository.fail(target.id, reason):
            await record(
                "provisioning_target_failing", outcome="failure",
                detail={"target_id": str(target.id), "name": target.name, "cause": reason},
            )  # fmt: skip


async def works(target: Target, *, asked: bool = True) -> None:
    """Record that users can be sent to a target.

    Args:
        asked: it has accepted a request. Without one the token may still be refused.
    """
    if target.failing_since is None or (not asked and target.failing_reason.startswith(_REFUSED)):
        return
    async with transaction():
        if await repository.works(target.id):
            await record("provisioning_target_works", detail={"target_id": str(target.id), "name": target.name})

"""The rotation job: activates keys that have propagated, rotates old keys, destroys retired keys.

It runs in every worker of every replica. Each change is one conditional statement, so only the first worker makes it.
"""

import asyncio
import random
import time
from contextlib import suppress

import structlog

from idp.errors import NoSigningKeyError
from idp.infra.db import outages
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.logs import exception_fields
from idp.keys import lifecycle, propagation
from idp.keys.key_set import key_set
from idp.keys.lifecycle import TOPIC, RotationPendingError, UnknownKeyError
from idp.keys.repository import jwks_fetches, signing_keys
from idp.keys.repository.signing_keys import MARGIN
from idp.settings import settings

log = structlog.get_logger()

POLL_SECONDS = 1.0
#: Seconds between writes of use, between searches for old keys, and between log lines about a pending key.
USE_SECONDS, AGE_SECONDS, REMIND_SECONDS = 5.0, 60.0, 3600.0


def publication() -> int:
    """Return the minimum seconds for which a new key is published before it signs, so that cached JWKS have expired."""
    given = settings().key_publication
    return settings().jwks_max_age + MARGIN if given is None else given


async def activate_due() -> None:
    """Activate the keys that have propagated, or whose deadline has passed."""
    for key in await jwks_fetches.propagating_keys(publication()):
        unseen = await propagation.unseen(key.kid)
        if key.due:
            with suppress(UnknownKeyError):  # another worker was first
                await lifecycle.activate(key.kid, unseen=tuple(unseen))
                if unseen:
                    log.warning("key_activated_unseen", kid=key.kid, resource_servers=unseen)
        elif _to_be_said(key.kid):
            log.warning("key_waits", kid=key.kid, resource_servers=unseen)


_said: dict[str, float] = {}


def _to_be_said(kid: str) -> bool:
    """Return whether to log now that a key is pending."""
    now = time.monotonic()
    if now - _said.get(kid, -REMIND_SECONDS) < REMIND_SECONDS:
        return False
    _said[kid] = now
    return True


async def write_use() -> None:
    """Write how many tokens the keys have signed, and keep keys published until their last token has expired."""
    await key_set.write_use()
    if await signing_keys.outlived_by_tokens():
        async with exclusive_change(TOPIC):
            await signing_keys.extend_publication()


async def rotate_old() -> None:
    """Publish successors of keys that have reached the rotation interval."""
    interval = settings().key_rotation_interval
    if not interval:
        return
    for alg in await signing_keys.old_algorithms(interval):
        with suppress(RotationPendingError, NoSigningKeyError):  # another worker was first
            deadline = settings().key_rotation_deadline
            kid = await lifecycle.rotate(alg, key_set.signing(alg).size, deadline=deadline)
            log.info("key_rotation_started", kid=kid, alg=alg)


async def destroy_obsolete() -> None:
    """Erase the private parts of keys that retired long ago."""
    for kid in await signing_keys.obsolete_kids(settings().key_kept):
        with suppress(UnknownKeyError):  # another worker was first
            await lifecycle.destroy(kid)


async def run() -> None:
    """Run forever; on cancellation, write the noted use."""
    used = aged = time.monotonic()
    try:
        while True:
            await asyncio.sleep(random.uniform(0.8, 1.2) * POLL_SECONDS)  # noqa: S311
            now = time.monotonic()
            try:
                await propagation.write()
                await activate_due()
                if now - used >= USE_SECONDS:
                    used = now
                    await write_use()
                if now - aged >= AGE_SECONDS:
                    aged = now
                    await rotate_old()
                    await destroy_obsolete()
                    await propagation.forget()
            except outages.ERRORS as error:
                log.warning("rotation_job_failed", **exception_fields(error))
    finally:
        with suppress(*outages.ERRORS):
            await propagation.write()
            await key_set.write_use()

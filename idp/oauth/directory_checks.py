"""Disables users who may not sign in with their directories any more, and ends their sessions and tokens.

A directory that does not answer disables nobody. Neither does one in which too many are missing at once: that is rather
a changed base or filter, or a bind DN that sees less. The operator then decides (``idp upstreams check``).
"""

import asyncio
import random
from typing import NamedTuple
from uuid import UUID

import structlog

from idp.accounts.last_owner import LastOwnerError
from idp.accounts.users import disable_user, enable_user
from idp.audit.events import record
from idp.errors import OverloadedError
from idp.federation.errors import UpstreamError
from idp.federation.ldap import repository
from idp.federation.models import Upstream
from idp.federation.registry import upstreams
from idp.infra.db import outages
from idp.infra.db.engine import transaction
from idp.infra.logs import exception_fields
from idp.oauth.credentials import credentials_changed
from idp.settings import settings

log = structlog.get_logger()

#: Seconds between two looks for directories that are due, and until the next attempt if one did not answer.
POLL_SECONDS, RETRY_SECONDS = 60.0, 300.0
#: Reason in the audit trail.
REASON = "directory"


class Outcome(NamedTuple):
    """The result of a check.

    Attributes:
        linked: the number of enabled users whose password the directory has.
        gone: how many of them may not sign in with it any more, nor with another directory.
        disabled, enabled: how many were changed here.
        stopped: there were too many, so nobody was disabled.
    """

    linked: int
    gone: int
    disabled: int
    enabled: int
    stopped: bool


async def run() -> None:
    """Check the directories that are due, until cancelled. Each is checked by one worker."""
    while True:
        try:
            await check_due()
        except outages.ERRORS as error:
            log.warning("directory_checks_interrupted", error=type(error).__name__)
        except Exception as error:
            # Not log.exception: the text of an exception may quote anything.
            log.error("directory_checks_failed", **exception_fields(error))  # noqa: TRY400
        await asyncio.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311


async def check_due() -> int:
    """Check the directories that are due. Returns their number."""
    interval = settings().directory_check_interval
    due = await repository.take_due(interval) if interval else []
    for upstream_id in due:
        upstream = upstreams.get(upstream_id)
        if upstream is None:
            continue
        try:
            await check(upstream)
        except (UpstreamError, OverloadedError) as error:
            log.warning("directory_not_checked", path=upstream_id, error=str(error))
            await repository.set_due(upstream_id, min(interval, RETRY_SECONDS))
    return len(due)


async def check(upstream: Upstream, *, all_of_them: bool = False, look_only: bool = False) -> Outcome:
    """Compare the users of a directory with those who are linked to it here, and disable and enable them.

    Args:
        all_of_them: also if there are too many: the operator says so.
        look_only: change nothing.

    Raises:
        UpstreamUnavailableError: the directory does not respond as it should. Nothing was changed.
    """
    # Imported late, because it is slow, and not every server has a directory.
    from idp.federation.ldap import census

    found = await census.take(upstream)
    most = max(1, found.linked * settings().directory_check_limit // 100)
    stopped = len(found.gone) > most and not all_of_them
    if look_only:
        return Outcome(found.linked, len(found.gone), 0, 0, stopped)
    if stopped:
        detail = {"upstream": upstream.id, "gone": len(found.gone), "linked": found.linked}
        async with transaction():
            await record("directory_check_stopped", outcome="failure", detail=detail)
        log.warning("directory_check_stopped", path=upstream.id, count=len(found.gone))
    disabled = 0 if stopped else sum([await _disable(user_id, upstream) for user_id in found.gone])
    enabled = sum([await enable_user(user.user_id, user.disabled_by) for user in found.back])
    return Outcome(found.linked, len(found.gone), disabled, enabled, stopped)


async def _disable(user_id: UUID, upstream: Upstream) -> bool:
    try:
        return await disable_user(user_id, credentials_changed, by=upstream.origin, reason=REASON)
    except LastOwnerError:
        log.warning("directory_user_kept", path=upstream.id, reason="There would be no owner.")
        return False

"""The background task that checks verified domains again."""

import asyncio
import random

import structlog

from idp.directory import domains
from idp.directory.repository.domains import take_due_domains
from idp.errors import DomainError, RemoteError
from idp.infra.db import outages
from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Seconds between two looks for domains that are due.
POLL_SECONDS = 60.0
#: Domains that one worker takes at a time, and the seconds after which another one may, also if a name server did not
#: answer.
BATCH, LEASE_SECONDS = 20, 3600.0


async def run() -> None:
    """Check the domains that are due, until cancelled. Each is checked by one worker."""
    while True:
        try:
            while await check_due():
                pass
        except outages.ERRORS as error:
            log.warning("domain_checks_interrupted", error=type(error).__name__)
        except Exception as error:
            # Not log.exception: the text of an exception may quote anything.
            log.error("domain_checks_failed", **exception_fields(error))  # noqa: TRY400
        await asyncio.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311


async def check_due() -> int:
    """Check some domains that are due. Returns their number."""
    due = await take_due_domains(BATCH, LEASE_SECONDS)
    for domain in due:
        try:
            await domains.check(domain)
        except (RemoteError, DomainError) as error:
            log.warning("domain_not_checked", error=str(error), host=domain.domain)
    return len(due)

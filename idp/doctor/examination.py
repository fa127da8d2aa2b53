"""Runs checks: concurrently, each with a deadline, and none of them stops the others."""

import asyncio
import base64
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from idp.doctor.models import Check, Context, Finding, Needs, Result, error, warning
from idp.infra.db import outages
from idp.infra.logs import exception_fields
from idp.settings import SECRETS, Settings

log = structlog.get_logger()

PAGE = "docs/doctor.md"
#: Shortest text that is masked. A shorter one would mask parts of ordinary words.
MIN_SECRET = 4

_MISSING = {
    Needs.DATABASE: "There is no connection to the database.",
    Needs.RECORDS: "The database is not up to date, or the master key does not open it.",
}


async def examine(checks: Sequence[Check], context: Context, *, at_once: int = 32) -> list[Result]:
    """Run the checks that can run, and return the result of each, in their order.

    Args:
        at_once: how many run concurrently.
    """
    secrets, gate = _secrets(context.settings), asyncio.Semaphore(at_once)

    async def run(check: Check) -> Result:
        async with gate:
            return await _examine(check, context, secrets)

    return await asyncio.gather(*map(run, checks))


def found(check: str, title: str, findings: Iterable[Finding], settings: Settings | None = None) -> Result:
    """Return the result of a check that could not begin."""
    secrets = _secrets(settings) if settings is not None else ()
    return Result(check, title, [_masked(finding, secrets) for finding in findings], docs=_docs(check))


async def _examine(check: Check, context: Context, secrets: Sequence[str]) -> Result:
    if reason := _obstacle(check, context):
        return Result(check.name, check.title, [], reason, _docs(check.name))
    findings = [_masked(finding, secrets) for finding in await _run(check, context)]
    return Result(check.name, check.title, findings, docs=_docs(check.name))


def _docs(check: str) -> str:
    return f"{PAGE}#{check}"


def _obstacle(check: Check, context: Context) -> str:
    if check.network and not context.network:
        return "It needs the network."
    return _MISSING[check.needs] if check.needs > context.provides else ""


async def _run(check: Check, context: Context) -> list[Finding]:
    """Return what a check found until it ended, failed or reached its deadline."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.seconds), aclosing(check.run(context)) as findings:
            async for finding in findings:
                found.append(finding)  # noqa: PERF401 -- what was found before a failure is kept
    except TimeoutError:
        found.append(
            warning(
                "check_timed_out",
                f"The check did not end within {check.seconds:.0f} s, so it is incomplete.",
                "Run it again by itself. If that does not help, look for a server or a firewall that does not answer.",
            )
        )
    except Exception as failure:
        found.append(_failed(failure))
    return found


def _failed(failure: Exception) -> Finding:
    if (outage := outages.outage(failure)) is not None:
        return error(
            "check_lost_database", f"{outage.words}.", "Fix the connection to PostgreSQL, and run the command again."
        )
    log.error("doctor_check_failed", **exception_fields(failure))
    return error(
        "check_failed",
        f"The check ended with an unexpected error ({type(failure).__name__}).",
        "Report it as a bug, with the lines of the log.",
    )


def _secrets(settings: Settings) -> list[str]:
    """Return the secrets of the settings in every form that another server may repeat, the longest first."""
    found = set[str]()
    for name in SECRETS:
        value = getattr(settings, name)
        if value is not None:
            found |= set(_forms(value.get_secret_value()))
    return sorted((text for text in found if len(text) >= MIN_SECRET), key=len, reverse=True)


def _forms(secret: str) -> Iterable[str]:
    yield secret
    try:
        parts = urlsplit(secret)
        user, password = parts.username, parts.password
    except ValueError:
        return
    if password:
        yield from (password, unquote(password))
        for text in (unquote(password), f"\0{unquote(user or '')}\0{unquote(password)}"):
            yield base64.b64encode(text.encode()).decode()


def _masked(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Mask secrets, and what could control a terminal: a text may quote another server."""
    return msgspec.structs.replace(finding, text=_safe(finding.text, secrets), mend=_safe(finding.mend, secrets))


def _safe(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return "".join(character if character.isprintable() else "�" for character in text)

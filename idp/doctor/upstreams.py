"""Upstream providers and directories: do they answer as users need them?"""

import asyncio
import base64
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from idp import clock
from idp.doctor.models import Context, Finding, Findings, error, ok, warning
from idp.federation import checks, registry
from idp.federation.models import Upstream
from idp.infra import foreign_json
from idp.settings import DAY

#: Seconds for one provider, and those that are asked at once.
SECONDS, AT_ONCE = 8.0, 8
#: Seconds before the end of a secret at which there is a warning.
SOON = 14 * DAY


class _Claims(msgspec.Struct):
    """The claims of a client secret that is a JWT."""

    exp: float | None = None


async def check(context: Context) -> Findings:
    """Fetch the metadata and keys of each provider; connect, bind and search at each directory."""
    stored = await registry.load_stored()
    known = [one for one in [*registry.from_settings(context.settings), *stored] if not one.disabled]
    gate = asyncio.Semaphore(AT_ONCE)
    found = [finding for result in await asyncio.gather(*(_test(one, gate) for one in known)) for finding in result]
    for finding in found:
        yield finding
    if not found:
        yield ok(f"{len(known)} upstreams answer.")


async def _test(upstream: Upstream, gate: asyncio.Semaphore) -> list[Finding]:
    found = _secret(upstream)
    async with gate:
        findings = await checks.run(upstream, SECONDS)
    if findings and not findings[-1].passed:
        directory = upstream.kind == "ldap"
        found.append(
            error(
                "directory_fails" if directory else "upstream_fails",
                f"No one can sign in with {upstream.name} ({upstream.id}): {findings[-1].text}",
                f"See each step: idp upstreams test {upstream.id}",
            )
        )
    if upstream.issuer.startswith("http://") and urlsplit(upstream.issuer).hostname not in ("localhost", "127.0.0.1"):
        found.append(
            warning(
                "upstream_without_https",
                f"{upstream.name} ({upstream.id}) is reached without TLS, so others can sign in as any of its users.",
                f"Use its https URL: idp upstreams update {upstream.id} --issuer https://…",
            )
        )
    return found


def _secret(upstream: Upstream) -> list[Finding]:
    """Judge a client secret that is a JWT, as some providers want it. Other secrets do not say when they expire."""
    until = _expiry(upstream.client_secret or "")
    if until is None or (until - clock.now()).total_seconds() > SOON:
        return []
    level = error if until < clock.now() else warning
    return [
        level(
            "upstream_secret_expires",
            f"Our secret at {upstream.name} ({upstream.id}) {'expired' if level is error else 'expires'} on "
            f"{until:%Y-%m-%d}.",
            f"Make a new one there, then: idp upstreams update {upstream.id} --client-secret-file …",
        )
    ]


def _expiry(secret: str) -> datetime | None:
    parts = secret.split(".")
    if len(parts) != 3:
        return None
    try:
        content = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        exp = foreign_json.decode(content, _Claims).exp
        return datetime.fromtimestamp(exp, UTC) if exp is not None else None
    except (ValueError, OverflowError):
        return None

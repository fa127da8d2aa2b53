"""The URLs of other systems that this server calls: can they be reached, and with a valid certificate?

Nothing is sent there but a TLS handshake.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from idp.doctor.models import Context, Finding, Findings, error, ok, warning
from idp.events import repository as webhooks
from idp.infra import outbound
from idp.infra.outbound_streams import Stream
from idp.oauth.token_hook import repository as token_hooks
from idp.provisioning.repository.targets import enabled_targets
from idp.settings import Settings

#: Seconds for one receiver, and those that are called at once.
SECONDS, AT_ONCE = 5.0, 8


async def check(context: Context) -> Findings:
    """Connect to each URL once."""
    urls = {url: what async for what, url in _urls(context.settings)}
    gate = asyncio.Semaphore(AT_ONCE)
    results = await asyncio.gather(*(_reach(what, url, gate) for url, what in urls.items()))
    found = [finding for finding in results if finding is not None]
    for finding in found:
        yield finding
    if not found:
        yield ok(f"{len(urls)} receivers can be reached.")


async def _urls(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    for webhook in await webhooks.enabled_webhooks():
        yield "The webhook", webhook.url
    for hook in await token_hooks.hooks():
        if hook.disabled_at is None:
            yield "The token hook", hook.url
    for target in await enabled_targets():
        yield f"The provisioning target {target.name}", target.base_url
    if settings.audit_checkpoint_url is not None:
        yield "IDP_AUDIT_CHECKPOINT_URL", settings.audit_checkpoint_url.get_secret_value()
    if settings.breached_passwords_url is not None:
        yield "IDP_BREACHED_PASSWORDS_URL", settings.breached_passwords_url


async def _reach(what: str, url: str, gate: asyncio.Semaphore) -> Finding | None:
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    # Its path and query may be a secret.
    named = f"{what} at {host}"
    try:
        async with gate, asyncio.timeout(SECONDS):
            stream = await Stream.open(host, parts.port or (443 if tls else 80), timeout_seconds=SECONDS)
            try:
                if tls:
                    await stream.start_tls(outbound.tls_context(), host)
            finally:
                await stream.close()
    except outbound.ForbiddenAddressError:
        return error(
            "receiver_forbidden",
            f"{named} has a private address, which may not be called.",
            "If it is yours, add the host or its network to IDP_OUTBOUND_ALLOWED_HOSTS.",
        )
    except (outbound.CallFailed, TimeoutError) as failure:
        return error(
            "receiver_unreachable",
            f"{named} cannot be reached. {outbound.cause(failure)}",
            "Check the URL, its certificate and the firewalls between. An authority of your own belongs into "
            "IDP_OUTBOUND_CA_FILE.",
        )
    if not tls:
        return warning("receiver_without_https", f"{named} is called without TLS.", "Use https.")
    return None

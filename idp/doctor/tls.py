"""The TLS certificate of the issuer's URL, and of the URL for mutual TLS."""

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from idp import clock
from idp.doctor import visits
from idp.doctor.models import Context, Finding, Findings, error, ok, warning
from idp.infra import outbound
from idp.infra.outbound_streams import Stream

#: Days before the end of a certificate at which it should have been replaced, and at which it is urgent.
SOON, URGENT = 21, 7

#: OpenSSL's X509_V_ERR_…: not yet valid, expired, another host, another address.
_NOT_YET, _EXPIRED, _OTHER_HOST = (9,), (10,), (62, 64)


async def check(context: Context) -> Findings:
    """Connect as a client does, and look at the certificate."""
    urls = [url for url in (context.settings.issuer, context.settings.mtls_url) if url]
    for url in dict.fromkeys(urls):
        if url.startswith("https://"):
            async for finding in _check(url):
                yield finding
        else:
            yield ok(f"{url} is not https.")


async def _check(url: str) -> Findings:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        stream = await Stream.open(host, port, timeout_seconds=visits.SECONDS, own=(f"https://{parts.netloc}",))
    except outbound.CallFailed as failure:
        yield unreachable(url, failure)
        return
    try:
        async with asyncio.timeout(visits.SECONDS):
            await stream.start_tls(outbound.tls_context(), host)
        certificate, protocol = stream.certificate
    except (outbound.CallFailed, TimeoutError) as failure:
        for finding in _refused(url, failure):
            yield finding
        return
    finally:
        await stream.close()
    yield _expiry(url, certificate, protocol)


def unreachable(url: str, failure: Exception) -> Finding:
    """Return the finding that there is no connection to our own server."""
    return error(
        "server_unreachable",
        f"{url} cannot be reached from this machine. {outbound.cause(failure)}",
        "Check that the DNS record, the proxy and the firewalls lead to the server. Clients and the console use this "
        "URL too.",
    )


def _refused(url: str, failure: BaseException) -> Iterator[Finding]:
    """Return the reason why TLS failed, by OpenSSL's code."""
    cause: BaseException | None = failure
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    code = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else None
    if code in _EXPIRED:
        yield error("tls_expired", f"The certificate of {url} has expired.", "Renew it, and look why that failed.")
    elif code in _NOT_YET:
        yield error("tls_not_yet_valid", f"The certificate of {url} is not valid yet.", "Check the clocks.")
    elif code in _OTHER_HOST:
        yield error(
            "tls_wrong_host",
            f"The certificate at {url} is for another host.",
            "Get one whose subject alternative names contain the host, or correct the URL.",
        )
    elif code is not None:
        yield error(
            "tls_untrusted",
            f"The certificate of {url} is not signed by a known authority, or intermediate certificates are missing.",
            "Let the proxy send the whole chain. If the authority is your own, name it in IDP_OUTBOUND_CA_FILE.",
        )
    else:
        reason = getattr(cause, "reason", None) or type(failure).__name__
        yield error(
            "tls_failed",
            f"There is no TLS connection with {url}: {reason}.",
            "Let the proxy serve TLS 1.2 or 1.3 on this port.",
        )


def _expiry(url: str, certificate: dict[str, object], protocol: str) -> Finding:
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = (until - clock.now()).days
    if days >= SOON:
        return ok(f"{url} has {protocol} and a certificate for {days} more days.")
    level = error if days < URGENT else warning
    return level(
        "tls_expires",
        f"The certificate of {url} expires in {days} days, on {until:%Y-%m-%d}.",
        "Renew it. If that is automatic, look why it did not happen.",
    )

"""The documents at the issuer's URL, as clients get them."""

from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

from idp.doctor import visits
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.doctor.tls import unreachable
from idp.doctor.visits import Visit
from idp.infra import foreign_json, outbound
from idp.infra.outbound import Observation
from idp.keys import vault
from idp.settings import Settings

DISCOVERY, JWKS = "/.well-known/openid-configuration", "/.well-known/jwks.json"
#: Attempts to see the same documents in two answers: keys and clients may change between.
ATTEMPTS = 3
#: Seconds of Strict-Transport-Security below which it protects few visits.
MIN_HSTS = 180 * 86400
_OTHER_ORIGIN = {"Origin": "https://doctor.example"}
_SECURITY_HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options")


async def check(context: Context) -> Findings:
    """Fetch discovery and JWKS, and compare them with what the server sends."""
    settings = context.settings
    try:
        discovery = await visits.look(settings, settings.issuer + DISCOVERY, _OTHER_ORIGIN)
    except outbound.CallFailed as failure:
        yield _failed(settings.issuer, failure)
        return
    problem = _not_ours(settings, discovery)
    if problem is not None:
        yield problem
        return
    found = [*_headers(settings, discovery)]
    found += [finding async for finding in _well_known(settings)]
    found += [finding async for finding in _plain_http(context)]
    found += [finding async for finding in _documents(settings)]
    for finding in found:
        yield finding
    if not found:
        yield ok(f"{settings.issuer} answers as this server does.")


def _failed(issuer: str, failure: outbound.CallFailed) -> Finding:
    if "compressed" in str(failure):
        return warning(
            "compressed_unasked",
            f"The proxy compresses answers of {issuer} although they are requested without it.",
            "Let the proxy compress only for clients that send Accept-Encoding.",
        )
    return unreachable(issuer, failure)


def _not_ours(settings: Settings, seen: Observation) -> Finding | None:
    """Return what is wrong if the answer is no discovery document of this server."""
    url = settings.issuer + DISCOVERY
    if 300 <= seen.status < 400:
        return error(
            "issuer_redirects",
            f"{url} redirects to {seen.header('location')[:200]}. Clients do not follow it.",
            "Set IDP_ISSUER to the URL at the end, or serve the issuer without a redirect.",
        )
    try:
        document: Any = foreign_json.decode(seen.body) if seen.status == 200 else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "issuer" not in document:
        return error(
            "discovery_missing",
            f"{url} answers with status {seen.status} and no discovery document.",
            "Let the proxy pass all paths of the issuer, and the path unchanged, to the port of idp.",
        )
    if document["issuer"] != settings.issuer:
        return error(
            "issuer_of_another_server",
            f"The server at {settings.issuer} calls itself {str(document['issuer'])[:200]}.",
            "Correct IDP_ISSUER here or there, or the proxy's choice of the server.",
        )
    return None


def _headers(settings: Settings, seen: Observation) -> Iterator[Finding]:
    allowed = seen.all("access-control-allow-origin")
    if allowed != ["*"]:
        yield error(
            "cors_changed",
            f"The discovery document has Access-Control-Allow-Origin {', '.join(allowed) or 'missing'} instead of *.",
            "Let the proxy neither add nor remove CORS headers. idp sends the right ones.",
        )
    missing = [name for name in _SECURITY_HEADERS if len(seen.all(name)) != 1]
    if missing:
        yield warning(
            "security_headers_changed",
            f"Headers that protect pages are removed, or are there twice: {', '.join(missing)}.",
            "Let the proxy pass the headers of idp, and add none of its own.",
        )
    if settings.issuer.startswith("https://"):
        yield from _hsts(seen)


def _hsts(seen: Observation) -> Iterator[Finding]:
    values = seen.all("strict-transport-security")
    words = values[0].lower().replace(" ", "").split(";") if values else []
    age = next((word.removeprefix("max-age=").strip('"') for word in words if word.startswith("max-age=")), "")
    if not age.isdigit() or int(age) < MIN_HSTS:
        yield warning(
            "hsts_missing",
            "Strict-Transport-Security is missing or short, so the first request of a browser can be intercepted.",
            "Let the proxy pass the header of idp, or send max-age=63072000 itself.",
        )


async def _well_known(settings: Settings) -> Findings:
    """RFC 8414 section 3.1: the path of an issuer follows the well-known name."""
    if not settings.path:
        return
    url = f"{settings.origin}/.well-known/oauth-authorization-server{settings.path}"
    try:
        seen = await visits.look(settings, url)
    except outbound.CallFailed:
        return
    if seen.status != 200:
        yield warning(
            "well_known_not_forwarded",
            f"{url} answers with status {seen.status}. Clients of RFC 8414, such as those of MCP, look there.",
            "Let the proxy pass /.well-known/ with this path to idp too.",
        )


async def _plain_http(context: Context) -> Findings:
    """Look for pages that are served without TLS."""
    parts = urlsplit(context.settings.issuer)
    if parts.scheme != "https" or (parts.port is not None and context.http_port == 80):
        return
    plain = f"http://{parts.hostname}" + ("" if context.http_port == 80 else f":{context.http_port}")
    try:
        seen = await outbound.observe(
            "GET", f"{plain}{parts.path}/", {}, b"", own=(plain,), timeout_seconds=visits.SECONDS
        )
    except outbound.CallFailed:
        return
    if seen.status < 400 and not seen.header("location").startswith("https://"):
        yield error(
            "http_not_redirected",
            f"{plain} serves pages without TLS.",
            "Let the proxy answer every request there with a redirect to https.",
        )


async def _documents(settings: Settings) -> Findings:
    """Compare the documents byte by byte with what the server says that it sends."""
    for _ in range(ATTEMPTS):
        try:
            found = [finding async for finding in _compare(settings)]
        except (outbound.CallFailed, vault.SecretsError):
            return  # the check of the proxy says more
        if not found:
            return
    for finding in found:
        yield finding


async def _compare(settings: Settings) -> Findings:
    visit = await visits.visit(settings)
    if visit.arrival is None:
        return
    for path, digest in ((DISCOVERY, visit.arrival.discovery), (JWKS, visit.arrival.jwks)):
        seen = await visits.look(settings, settings.issuer + path)
        for finding in _difference(settings.issuer + path, seen, digest, visit):
            yield finding


def _difference(url: str, seen: Observation, digest: str, visit: Visit) -> Iterator[Finding]:
    assert visit.arrival is not None  # noqa: S101 -- checked by the caller
    if not compare_digest(sha256(seen.body).hexdigest(), digest):
        yield error(
            "document_changed",
            f"{url} is not what the server sends: a proxy changes it, or answers from an old copy.",
            "Let the proxy pass bodies unchanged, and cache no longer than Cache-Control says. After a change of a "
            "key, an old JWKS makes services refuse valid tokens.",
        )
    if seen.all("cache-control") != [visit.arrival.cached]:
        yield warning(
            "cache_control_changed",
            f"{url} has Cache-Control {', '.join(seen.all('cache-control')) or 'missing'} instead of "
            f"{visit.arrival.cached}.",
            "Let the proxy pass Cache-Control. IDP_JWKS_MAX_AGE sets it, and keys wait as long as it says.",
        )
    age = seen.header("age")
    if age.isdigit() and int(age) > _max_age(visit.arrival.cached):
        yield note("document_stale", f"{url} comes from a cache and is {age} s old.", "Empty the cache of the proxy.")


def _max_age(cache_control: str) -> int:
    """Return the seconds of max-age."""
    return int(cache_control.rpartition("=")[2])

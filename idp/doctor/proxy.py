"""The reverse proxies before the server: which address, path, host, headers and sizes arrive."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from idp import __version__
from idp.doctor import visits
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.doctor.probe_models import ANSWER_BYTES, PADDING, Arrival
from idp.doctor.visits import Visit
from idp.infra import outbound
from idp.infra.networks import PROBE
from idp.keys import vault
from idp.settings import Settings

AUTHORIZATION, CERTIFICATE = "Bearer doctor", ":ZG9jdG9y:"
#: Bytes that sign-ins need: of a header and a URL of a request, of the headers of an answer, and of a form.
REQUEST_BYTES, HEADER_BYTES, BODY_BYTES = 6000, 5000, 60_000


async def check(context: Context) -> Findings:
    """Ask the server how a request arrives."""
    settings = context.settings
    headers = {"X-Forwarded-For": PROBE, "Authorization": AUTHORIZATION}
    try:
        visit = await visits.visit(settings, headers=headers)
        if visit.arrival is None:
            yield await _unanswered(settings, visit)
            return
        found = [*_arrived(settings, visit, visit.arrival)]
        found += [finding async for finding in _certificate(settings, visit.arrival)]
        found += [finding async for finding in _sizes(settings)]
        found += [finding async for finding in _caching(settings)]
    except vault.SecretsError as failure:
        yield warning(
            "probe_impossible",
            f"The server cannot be asked how requests arrive: {failure.description}",
            "Run the doctor with the master key of the server.",
        )
        return
    except outbound.CallFailed:
        return  # the check of the issuer says it
    for finding in found:
        yield finding
    if not found:
        how = "There is no proxy between." if visit.direct else f"The client address is {visit.arrival.address}."
        yield ok(f"Requests arrive as they were sent. {how}")


async def _unanswered(settings: Settings, visit: Visit) -> Finding:
    """Say why no server with our master key answered at the path of the issuer."""
    path = settings.path
    if path and (await visits.visit(settings, base=settings.issuer + path)).arrival is not None:
        return error(
            "path_stripped",
            f"The proxy removes {path} from paths, and idp expects it: IDP_ISSUER has it.",
            "Let the proxy pass the path unchanged. In nginx, proxy_pass must not end with a path or a slash.",
        )
    if path and (await visits.visit(settings, base=settings.origin)).arrival is not None:
        return error(
            "path_added",
            f"The proxy puts {path} before paths that have it already.",
            "Let the proxy pass the path unchanged.",
        )
    if visit.seen.status >= 500:
        return error(
            "proxy_fails",
            f"{settings.issuer} answers with status {visit.seen.status}.",
            "Check that the server runs, and that the proxy reaches its port.",
        )
    return error(
        "server_not_ours",
        f"The server at {settings.issuer} does not recognise this doctor: another server answers, one with another "
        "master key or an older version, or the proxy drops headers.",
        "Run the doctor with the settings and the master key of that server. After a change of the master key, restart "
        "the servers.",
    )


def _arrived(settings: Settings, visit: Visit, arrival: Arrival) -> Iterator[Finding]:
    if not visit.direct:
        yield from _address(arrival)
    if arrival.authorization != AUTHORIZATION:
        yield error(
            "authorization_header_lost",
            "The Authorization header does not arrive as it was sent, so clients and tokens are refused.",
            "Let the proxy pass Authorization unchanged.",
        )
    if arrival.host != urlsplit(settings.issuer).netloc:
        yield note(
            "host_changed",
            f"The proxy changes the Host header to {arrival.host[:100]}. idp does not use it.",
            "Nothing has to be done. Logs of other programs may show the wrong host.",
        )
    if arrival.version != __version__:
        yield note(
            "version_differs",
            f"The server has version {arrival.version}, and this doctor {__version__}.",
            "Run the doctor of the server's version.",
        )


def _address(arrival: Arrival) -> Iterator[Finding]:
    """Judge the client address that the server found behind a proxy."""
    entries = [entry.strip() for value in arrival.forwarded_for for entry in value.split(",") if entry.strip()]
    nginx = "In nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for"
    if not arrival.trusted:
        yield error(
            "proxy_not_trusted",
            f"Requests come from the proxy {arrival.peer[0]}, which IDP_TRUSTED_PROXIES does not name: all users share "
            "its address, in limits and in the audit trail.",
            f"Add {arrival.peer[0]} to IDP_TRUSTED_PROXIES.",
        )
    elif not entries:
        yield error(
            "forwarded_for_missing",
            "The proxy does not pass the address of the client, so all users share the address of the proxy.",
            f"Let it set X-Forwarded-For. {nginx}",
        )
    elif entries == [PROBE]:
        yield error(
            "forwarded_for_spoofable",
            "The proxy passes on an X-Forwarded-For of the client and adds nothing: every client can choose its "
            "address, and escapes the limits of attempts.",
            f"Let the proxy append the address, or replace the header. {nginx}",
        )
    elif arrival.address == PROBE:
        yield note(
            "doctor_is_trusted",
            f"IDP_TRUSTED_PROXIES contains this machine ({', '.join(entries[1:])}), which can therefore choose its "
            "address. Whether others can is not known.",
            "Name only proxies there, or run the doctor on a machine outside of these networks.",
        )


async def _certificate(settings: Settings, before: Arrival) -> Findings:
    """Send the header in which the proxy passes client certificates."""
    if not before.certificate_header or not before.trusted:
        return
    visit = await visits.visit(settings, headers={before.certificate_header: CERTIFICATE})
    if visit.arrival is not None and CERTIFICATE in visit.arrival.certificate:
        yield error(
            "certificate_header_spoofable",
            "The proxy passes on the header for client certificates that a client has sent: anyone can be any "
            "client that authenticates with a certificate.",
            "Let the proxy set or remove this header in every request.",
        )


async def _sizes(settings: Settings) -> Findings:
    """Send as much as sign-ins do."""
    padding = "x" * REQUEST_BYTES
    if (await visits.visit(settings, headers={PADDING: padding})).arrival is None:
        yield warning(
            "request_headers_limited",
            f"A request with a header of {REQUEST_BYTES} bytes does not arrive: signed proofs and certificates are "
            "refused.",
            "Raise the limit of the proxy. In nginx: large_client_header_buffers 4 16k",
        )
    if (await visits.visit(settings, query=f"padding={padding}")).arrival is None:
        yield warning(
            "url_limited",
            f"A URL of {REQUEST_BYTES} bytes does not arrive: authorization requests with signed parameters are "
            "refused.",
            "Raise the limit of the proxy. In nginx: large_client_header_buffers 4 16k",
        )
    if (await visits.visit(settings, query=f"{ANSWER_BYTES}={HEADER_BYTES}")).arrival is None:
        yield warning(
            "response_headers_limited",
            f"An answer with {HEADER_BYTES} bytes of headers does not arrive: some sign-ins end with an error of the "
            "proxy.",
            "Raise the limit of the proxy. In nginx: proxy_buffer_size 16k; proxy_buffers 8 16k",
        )
    sent = await visits.visit(settings, body=b"x" * BODY_BYTES)
    if sent.arrival is None or sent.arrival.body != BODY_BYTES:
        yield warning(
            "body_limited",
            f"A form of {BODY_BYTES} bytes does not arrive.",
            "Raise the limit of the proxy. In nginx: client_max_body_size 1m",
        )


async def _caching(settings: Settings) -> Findings:
    """Visit the same URL twice. The answers have Cache-Control: no-store."""
    if any([(await visits.visit(settings, query="same=url")).arrival is None for _ in range(2)]):
        yield error(
            "private_answers_cached",
            "The proxy answers from a copy although the server forbids it: users may see the pages of others.",
            "Let the proxy cache only what Cache-Control allows.",
        )

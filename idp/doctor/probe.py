"""`/doctor/probe`: tells a doctor how its request arrived, after the proxies before this server.

Without a valid token the answer is that of an unknown path. The token proves that the doctor has the master key.
"""

from hashlib import sha256
from typing import Any

import msgspec
from litestar import HttpMethod, Request, route
from litestar.exceptions import NotFoundException

from idp import __version__
from idp.doctor import seals
from idp.doctor.probe_models import ANSWER_BYTES, MAX_ANSWER_BYTES, PADDING, PATH, Arrival
from idp.http import client_certificate, cookies, forms
from idp.http.access import Access
from idp.http.body import body_of
from idp.http.headers import encode, request_header, request_headers
from idp.http.middleware import ALWAYS
from idp.http.responses import BytesResponse
from idp.infra.db.readiness import WITHOUT_DATABASE
from idp.infra.networks import parse_address
from idp.infra.request_context import client_address
from idp.keys import vault
from idp.keys.key_set import key_set
from idp.oauth import metadata
from idp.settings import settings

COOKIE, COOKIE_SECONDS = "doctor", 60


@route(
    PATH,
    http_method=[HttpMethod.GET, HttpMethod.POST],
    opt={"access": Access.PUBLIC, "quiet": ALWAYS} | WITHOUT_DATABASE,
)
async def probe(request: Request[Any, Any, Any]) -> BytesResponse:
    """Answer a doctor, and set a cookie for its next visit."""
    nonce = _nonce(request)
    if nonce is None:
        raise NotFoundException
    cookie = cookies.make(COOKIE, nonce, max_age=COOKIE_SECONDS)
    arrival = await _arrival(request, nonce, cookie.to_encoded_header()[1].decode())
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", PADDING: "x" * _asked(request)}
    return BytesResponse(msgspec.json.encode(arrival), encode(headers), cookies=[cookie])


def _nonce(request: Request[Any, Any, Any]) -> str | None:
    try:
        return seals.read(request_header(request.scope, b"x-doctor-token") or "")
    except vault.SecretsError:
        return None


def _asked(request: Request[Any, Any, Any]) -> int:
    text = forms.query(request).get(ANSWER_BYTES, "0")
    return min(int(text), MAX_ANSWER_BYTES) if text.isascii() and text.isdigit() and len(text) < 6 else 0


async def _arrival(request: Request[Any, Any, Any], nonce: str, cookie: str) -> Arrival:
    scope, peer = request.scope, request.scope.get("client") or ("", 0)
    address, form = parse_address(peer[0]), settings().client_certificate_header
    certificate = client_certificate.HEADERS[form] if form is not None else b""
    return Arrival(
        nonce=nonce,
        proof=seals.proof(nonce),
        version=__version__,
        peer=(peer[0], int(peer[1])),  # Granian gives the port as text
        trusted=address is not None and any(address in network for network in settings().trusted_proxies),
        address=client_address.get(),
        forwarded_for=request_headers(scope, b"x-forwarded-for"),
        host=request_header(scope, b"host") or "",
        authorization=request_header(scope, b"authorization") or "",
        certificate_header=certificate.decode(),
        certificate=request_headers(scope, certificate),
        cookie=cookie,
        returned=cookies.read(request, COOKIE) or "",
        padding=len(request_header(scope, b"x-doctor-padding") or ""),
        body=len(await body_of(request).read()),
        discovery=sha256(metadata.document().body).hexdigest(),
        jwks=sha256(key_set.jwks().body).hexdigest(),
        cached=metadata.cache_control(),
    )


ROUTES = [probe]

"""Request objects: the parameters of an authorization request in a JWT that the client signed.

RFC 9101, by value (``request``) and by reference (``request_uri``); OpenID Connect Core section 6. Of a request with an
object only the parameters in the object count (RFC 9101 section 6.3).
"""

import json
from collections import Counter
from datetime import UTC, datetime

from idp import clock
from idp.errors import InvalidRequestError, OAuthError, OverloadedError, Refused
from idp.infra import outbound
from idp.infra.name_lookups import CLIENTS, STRANGERS
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.clients import client_keys, profiles
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters
from idp.oauth.replay.repository import MAX_LIFETIME
from idp.oauth.replay.service import use_once
from idp.reasons import Reason
from idp.settings import settings

#: The names of the algorithms that an object may be signed with. ``none`` and those with a shared secret are not.
SIGNING_ALGORITHMS = VERIFICATION_ALGORITHMS
#: The type of RFC 9101 section 10.8, and that of clients of OpenID Connect Core, which may also send none.
TYPES = ("oauth-authz-req+jwt", "jwt")
#: Seconds that an object of FAPI may be old, and may be valid (FAPI 2.0 Message Signing section 5.3.1).
FAPI_SECONDS = 3600
FETCH_SECONDS = 5.0
#: Maximum number of objects that one worker fetches at once, in all and of one client; further requests get a 503.
MAX_FETCHES, MAX_FETCHES_OF_CLIENT = 32, 4
#: The parameters that this server reads, of authorization requests and of backchannel authentication requests. Other
#: members of an object are ignored, whatever their value (RFC 6749 section 3.1).
PARAMETERS = frozenset(
    {
        "acr_values", "authorization_details", "binding_message", "claims", "client_assertion", "client_assertion_type",
        "client_id", "client_notification_token", "client_secret", "code_challenge", "code_challenge_method",
        "dpop_jkt", "id_token_hint", "idp_hint", "login_hint", "login_hint_token", "max_age", "nonce", "organization",
        "prompt", "redirect_uri", "registration", "request", "request_uri", "requested_expiry", "resource",
        "response_mode", "response_type", "scope", "state", "ui_locales", "user_code",
    }
)  # fmt: skip
#: Parameters whose value is JSON.
_JSON = frozenset({"authorization_details", "claims", "registration"})

#: The fetches that are running, by client.
_fetches: Counter[str] = Counter()


async def resolve(parameters: Parameters, client: Client) -> Parameters:
    """Return the parameters in the request object; without an object, those outside.

    Raises:
        OAuthError: ``invalid_request_object`` or ``invalid_request_uri`` (RFC 9101 section 7), or the client must
            sign its requests and did not.
        OverloadedError: too many objects are being fetched.
    """
    if "request" in parameters and "request_uri" in parameters:
        raise InvalidRequestError("request and request_uri exclude each other.")
    if "request_uri" in parameters:
        token = await _fetch(parameters["request_uri"], client)
    elif "request" in parameters:
        token = parameters["request"]
    elif client.require_signed_request_object:
        raise InvalidRequestError("This client must send its requests as signed request objects.")
    else:
        return parameters
    claims = await _verify(token, client)
    inside = parameters_of(claims)
    if not {"request", "request_uri"}.isdisjoint(inside):
        raise _invalid("A request object cannot contain another one.")
    if parameters.get("response_type", inside.get("response_type")) != inside.get("response_type"):
        # OpenID Connect Core section 6.1.
        raise InvalidRequestError("response_type is not the one in the request object.")
    if "jti" in claims:
        await use_up(claims, client)
    return inside


def _invalid(description: str, reason: Reason = Reason.MALFORMED, hint: str | None = None) -> OAuthError:
    return OAuthError("invalid_request_object", description, hint=hint, refused=Refused(reason))


async def _fetch(request_uri: str, client: Client) -> str:
    """Return the object at a registered URI. Its fragment is a hint for caches and is ignored (OpenID Connect Core
    section 6.2).
    """
    url = _without_fragment(request_uri)
    if url not in set(map(_without_fragment, client.request_uris)):
        raise OAuthError("invalid_request_uri", "request_uri is none of those that this client registered.")
    if _fetches[client.client_id] >= MAX_FETCHES_OF_CLIENT or _fetches.total() >= MAX_FETCHES:
        raise OverloadedError
    _fetches[client.client_id] += 1
    try:
        content = await outbound.get(
            url,
            {"Accept": "application/oauth-authz-req+jwt, application/jwt"},
            timeout_seconds=FETCH_SECONDS,
            max_bytes=jose.MAX_TOKEN_LENGTH,
            lookups=CLIENTS if client.origin == "admin" else STRANGERS,
        )
        return content.decode("ascii").strip()
    except (outbound.CallFailed, UnicodeError) as error:
        raise OAuthError(
            "invalid_request_uri",
            "The request object cannot be fetched from its request_uri.",
            hint=f"The request object of {client.client_id} cannot be fetched. {outbound.cause(error)}",
        ) from error
    finally:
        _fetches.subtract([client.client_id])
        if not _fetches[client.client_id]:
            del _fetches[client.client_id]


def _without_fragment(uri: str) -> str:
    return uri.partition("#")[0]


async def _verify(token: str, client: Client) -> jose.Claims:
    """Return the claims of a valid object."""
    bounded = profiles.rules(client).bounded_request_objects
    claims = await verify(token, client, client.request_object_signing_alg, bounded=bounded)
    if claims.get("client_id") != client.client_id:
        raise _invalid("client_id in the request object is not the client of the request.", Reason.WRONG_CLIENT)
    return claims


async def verify(token: str, client: Client, registered_alg: str | None, *, bounded: bool) -> jose.Claims:
    """Return the claims of a JWT that a client signed for this server.

    Args:
        registered_alg: the only algorithm that the client may sign with; None: any that is accepted.
        bounded: whether it must have an audience and a bounded life.

    Raises:
        OAuthError: ``invalid_request_object``.
    """
    try:
        claims = await client_keys.verify(client, token, _algorithms(client, registered_alg), TYPES)
        jose.check_times(claims, fractions=True, require_exp=bounded)
    except (jose.InvalidJWTError, client_keys.KeysUnavailableError) as error:
        raise _invalid(
            "The request object is not a valid JWT that this client signed.",
            error.reason or Reason.KEYS_UNAVAILABLE,
            f"The request object of {client.client_id} is refused: {error.description}",
        ) from error
    if claims.get("iss", client.client_id) != client.client_id:
        raise _invalid("iss of the request object must be the client_id.", Reason.WRONG_ISSUER)
    if bounded:
        _check_fapi(claims)
    if settings().issuer not in jose.audience(claims, settings().issuer):
        raise _invalid("aud of the request object must be the issuer of this server.", Reason.WRONG_AUDIENCE)
    return claims


def _check_fapi(claims: jose.Claims) -> None:
    """FAPI 2.0 Message Signing section 5.3.1: an object has an audience and a bounded life."""
    now, exp, nbf = clock.now().timestamp(), jose.foreign_time(claims, "exp"), jose.foreign_time(claims, "nbf")
    if exp is None or nbf is None or "aud" not in claims:
        raise _invalid("The request object must have aud, exp and nbf.")
    if now - nbf > FAPI_SECONDS or exp - nbf > FAPI_SECONDS:
        raise _invalid(f"The request object is too old, or valid for more than {FAPI_SECONDS // 60} minutes.")


def _algorithms(client: Client, registered: str | None) -> tuple[str, ...]:
    """Return the algorithms that a client may sign with (FAPI 2.0 Security Profile section 5.4.1)."""
    allowed = profiles.algorithms(client, SIGNING_ALGORITHMS)
    return allowed if registered is None else tuple(alg for alg in allowed if alg == registered)


async def use_up(claims: jose.Claims, client: Client) -> None:
    """Use up an object with a ``jti``.

    Raises:
        OAuthError: ``invalid_request_object``; it was used before.
    """
    expires_at = jose.foreign_time(claims, "exp")
    if not isinstance(claims["jti"], str) or expires_at is None:
        raise _invalid("A request object with a jti, which is a string, must have exp.")
    moment = datetime.fromtimestamp(expires_at, UTC)
    if not await use_once("request-object", client.client_id, claims["jti"], moment):
        raise _invalid(
            f"The request object was used before, or it expires later than in {MAX_LIFETIME // 60} minutes.",
            Reason.REUSED,
        )


def parameters_of(claims: jose.Claims) -> dict[str, str]:
    """Return the parameters of an object. An empty one counts as absent, as outside.

    Raises:
        OAuthError: ``invalid_request_object``; one is of a wrong type.
    """
    texts = {name: _text(name, value) for name, value in claims.items() if name in PARAMETERS}
    return {name: text for name, text in texts.items() if text}


def _text(name: str, value: object) -> str:
    """Return a parameter as it would be sent outside (RFC 9101 section 4). One without a value is empty.

    Raises:
        OAuthError: the value is of another type, or has a character that is not allowed outside either.
    """
    try:
        match value:
            case None:
                text = ""
            case str():
                text = value
            case int() if not isinstance(value, bool):
                text = str(value)
            case dict() | list() if name in _JSON:
                text = json.dumps(value, ensure_ascii=False)
            case list() if name == "resource" and all(isinstance(item, str) for item in value):
                text = " ".join(value)
            case _:
                raise _invalid("A parameter in the request object is of a wrong type.")
        text.encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise _invalid("A parameter in the request object is not text, or too deeply nested.") from error
    if "\0" in text:
        raise _invalid("A parameter in the request object contains a NUL character.")
    return text

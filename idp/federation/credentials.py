"""Checks whether a provider accepts our client id and secret, without a user."""

import re
from typing import TYPE_CHECKING

from authlib.common.errors import AuthlibBaseError

from idp.federation.errors import MALFORMED, AccessDeniedError, UpstreamUnavailableError
from idp.federation.models import Finding
from idp.infra import outbound

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

#: A code that no provider issued, and a verifier that no challenge was made of.
_CODE, _VERIFIER = "a-test-of-the-client-id-and-secret", "a-test-of-the-client-id-and-secret-" + "0" * 8
#: Errors of the token endpoint: the client was refused (RFC 6749 section 5.2, and GitHub's word for it) …
_REFUSED = ("invalid_client", "unauthorized_client", "incorrect_client_credentials")
#: … or only the code.
_ACCEPTED = ("invalid_grant", "bad_verification_code")
_ERROR_CODE = re.compile(r"[a-z_]{1,60}")


async def check(client: "AsyncOAuth2Client", token_endpoint: str) -> Finding:
    """Redeem a code that does not exist. A provider authenticates the client first.

    Raises:
        AccessDeniedError: it refuses the client.
        UpstreamUnavailableError: the token endpoint does not answer.
    """
    try:
        await client.fetch_token(token_endpoint, code=_CODE, code_verifier=_VERIFIER)
        error = ""
    except AuthlibBaseError as refusal:
        error = refusal.error if isinstance(refusal.error, str) and _ERROR_CODE.fullmatch(refusal.error) else ""
    except MALFORMED as failure:
        raise UpstreamUnavailableError(
            f"The token endpoint does not answer as it should. {outbound.cause(failure)}"
        ) from failure
    if error in _REFUSED:
        raise AccessDeniedError("It refuses the client id or the client secret. Copy both again.")
    if error == "redirect_uri_mismatch":
        raise AccessDeniedError("The redirect URI is not registered there.")
    if error in _ACCEPTED:
        return Finding("It accepts the client id and the client secret.")
    said = f" It answered {error}." if error else ""
    return Finding(f"It does not say whether it accepts the client id and the client secret.{said}")

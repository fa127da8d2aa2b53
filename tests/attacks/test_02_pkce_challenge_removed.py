"""Row 2: PKCE cannot be removed from a request or weakened."""

from typing import Any

import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.oauth import REDIRECT_URI, pkce

PUBLIC = {"token_endpoint_auth_method": "none"}
VERIFIER, CHALLENGE = pkce()

WITHOUT_CHALLENGE: dict[str, dict[str, str | None]] = {
    "nothing": {"code_challenge": None, "code_challenge_method": None},
    "method only": {"code_challenge": None},
    "empty": {"code_challenge": "", "code_challenge_method": ""},
}
WEAK: dict[str, dict[str, str | None]] = {
    "plain": {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
    "no method, which means plain": {"code_challenge_method": None},
    "empty method": {"code_challenge_method": ""},
    "s256": {"code_challenge_method": "s256"},
    "S512": {"code_challenge_method": "S512"},
    "padded": {"code_challenge": f"{CHALLENGE}="},
    "short": {"code_challenge": CHALLENGE[:-1]},
    "long": {"code_challenge": f"{CHALLENGE}A"},
    "not base64url": {"code_challenge": f"+{CHALLENGE[1:]}"},
    "hexadecimal": {"code_challenge": "ab" * 32},
}


async def refusal(make_client: MakeClient, browser: Browser, changes: dict[str, str | None], **metadata: Any) -> str:
    answer = await (await make_client(**metadata)).authorize(browser, **changes)
    assert isinstance(answer, Redirect), answer.text
    assert "code" not in answer.parameters
    return answer.parameters["error"]


@pytest.mark.parametrize("changes", WITHOUT_CHALLENGE.values(), ids=WITHOUT_CHALLENGE)
@pytest.mark.parametrize("metadata", [{}, PUBLIC], ids=["confidential", "public"])
async def test_02_a_request_without_challenge_is_refused(
    metadata: dict[str, Any], changes: dict[str, str | None], make_client: MakeClient, browser: Browser
) -> None:
    assert await refusal(make_client, browser, changes, **metadata) == "invalid_request"


@pytest.mark.parametrize("changes", WEAK.values(), ids=WEAK)
async def test_02_only_s256_is_known(changes: dict[str, str | None], make_client: MakeClient, browser: Browser) -> None:
    """Also for a client that need not use PKCE: a challenge that it sends must be valid."""
    assert await refusal(make_client, browser, changes, require_pkce=False) == "invalid_request"


async def test_02_a_public_client_cannot_opt_out(db: str) -> None:
    with pytest.raises(OAuthError, match="PKCE"):
        await register_client(client_name="Public", redirect_uris=[REDIRECT_URI], require_pkce=False, **PUBLIC)


async def test_02_a_verifier_without_a_stored_challenge(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The client used PKCE, and an attacker removed the challenge from the request. The verifier reveals it."""
    client = await make_client(require_pkce=False)
    code = await client.sign_in(browser, alice.email, code_challenge=None, code_challenge_method=None)
    response = await client.redeem(code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await client.redeem(code, code_verifier=None)).status_code == 200

"""Row 1: a code that was requested with a challenge cannot be redeemed without its verifier."""

import secrets

import pytest

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import pkce

METADATA = {"confidential": {}, "public": {"token_endpoint_auth_method": "none"}, "optional": {"require_pkce": False}}


def wrong_verifiers(right: str) -> list[str | None]:
    challenge = pkce()[1]
    return [
        None,
        "",
        secrets.token_urlsafe(32),
        challenge,
        right[:-1],
        right + "A",
        right.swapcase(),
        f" {right}",
        f"{right} ",
        "A" * 42,
        "A" * 129,
        "é" * 43,
        "S256",
        "null",
    ]


@pytest.mark.parametrize("kind", METADATA)
async def test_01_only_the_verifier_redeems_the_code(
    kind: str, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """Every wrong verifier is refused, and burns nothing: the right one still works."""
    client = await make_client(**METADATA[kind])
    code = await client.sign_in(browser, alice.email)
    for verifier in wrong_verifiers(client.verifier):
        response = await client.redeem(code, code_verifier=verifier)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant"), verifier
    assert (await client.redeem(code)).status_code == 200


async def test_01_the_challenge_is_not_a_verifier(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Anyone who saw the authorization request knows the challenge, which would be the verifier with `plain`."""
    client = await make_client()
    challenge = client.parameters()["code_challenge"]
    code = await client.sign_in(browser, alice.email)
    response = await client.redeem(code, code_verifier=challenge, code_challenge_method="plain")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_01_the_verifier_of_another_sign_in(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """A code injected into another session of the same client meets that session's verifier."""
    client = await make_client()
    stolen = await client.sign_in(browser, alice.email)
    client.verifier = pkce()[0]
    own = await client.sign_in(browser, alice.email)
    response = await client.redeem(stolen)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await client.redeem(own)).status_code == 200

from typing import Any

import pytest

from idp.accounts.tables import User
from idp.dev.seed import CLAIMS
from tests.conftest import MakeClient, MakeUser
from tests.support.oauth import RelyingParty

ALL_SCOPES = "openid profile email address phone offline_access"


@pytest.fixture
async def person(make_user: MakeUser) -> User:
    """A user with every standard claim."""
    claims: dict[str, Any] = dict(CLAIMS)
    return await make_user(**claims)


@pytest.fixture
async def rp(make_client: MakeClient) -> RelyingParty:
    """A client as the plans register it: confidential, without PKCE, with links and a logo."""
    return await make_client(
        client_name="Conformance client",
        scope=ALL_SCOPES,
        require_pkce=False,
        logo_uri="https://rp.example.com/images/openid.png",
        policy_uri="https://rp.example.com/policy",
        tos_uri="https://rp.example.com/tos",
        client_uri="https://rp.example.com/",
        post_logout_redirect_uris=["https://app.example.com/signed-out"],
    )

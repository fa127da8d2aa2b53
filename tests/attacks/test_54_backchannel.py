"""Row 54: hostile parameters of a backchannel request, and of a poll, are refused without a 5xx."""

import httpx
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts.tables import User
from tests.attacks.test_54_never_5xx import FORM, VALUES, Send, bounded, encoded, must_refuse, mutated, unharmed
from tests.conftest import MakeClient
from tests.support.ciba import CIBA, GRANT

__all__ = ["must_refuse", "unharmed"]

NAMES = (
    "scope", "login_hint", "login_hint_token", "id_token_hint", "acr_values", "binding_message", "user_code", "request",
    "requested_expiry", "client_notification_token", "resource", "authorization_details", "request_uri", "auth_req_id",
)  # fmt: skip
FEW = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), min_size=1, max_size=3, unique_by=lambda pair: pair[0])


@bounded
@given(pairs=FEW, polls=st.booleans())
async def test_54_backchannel_requests(
    must_refuse: Send, make_client: MakeClient, alice: User, pairs: list[tuple[str, str]], polls: bool
) -> None:
    client = await _client(make_client)
    known = {"grant_type": GRANT} if polls else {"scope": "openid", "login_hint": f"x-{alice.email}"}
    basic = httpx.BasicAuth(client[0], client[1])._auth_header.encode()
    path = "/token" if polls else "/backchannel-authentication"
    text = encoded(mutated(known, pairs))
    must_refuse("POST", path, {b"content-type": FORM, b"authorization": basic}, text.encode())


_made: list[tuple[str, str]] = []


async def _client(make_client: MakeClient) -> tuple[str, str]:
    if not _made:
        party = await make_client(**CIBA)
        _made.append((party.client_id, party.client_secret or ""))
    return _made[0]

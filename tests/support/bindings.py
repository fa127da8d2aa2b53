"""What a browser holds of the flows that it began, for tests that take it apart."""

from idp.infra.db.engine import fetchrow
from idp.signin.browser import TAG_LENGTH, BrowserBinding
from tests.support.browser import Browser

PREFIX = "__Host-flow."


def cookie_of(flow_id: str) -> str:
    """The name of the cookie that binds what has this id."""
    return f"{PREFIX}{flow_id[:TAG_LENGTH]}"


def binding_of(browser: Browser, flow_id: str) -> BrowserBinding:
    """The binding of a flow or a waiting authorization request of this browser."""
    return BrowserBinding.derive(flow_id, browser.cookies[cookie_of(flow_id)])


async def waiting_of(flow_id: str) -> str:
    """The id of the authorization request that a flow leads to."""
    row = await fetchrow("SELECT return_to FROM signin_flow WHERE id = $1", flow_id)
    assert row is not None
    return str(row["return_to"]).removeprefix("/authorize/")

"""The bindings of a browser to its flows, for tests that manipulate them."""

from idp.infra.db.engine import fetchrow
from idp.signin.browser import TAG_LENGTH, BrowserBinding
from tests.support.browser import Browser

PREFIX = "__Host-flow."


def cookie_of(flow_id: str) -> str:
    """Return the name of the cookie that binds this id."""
    return f"{PREFIX}{flow_id[:TAG_LENGTH]}"


def binding_of(browser: Browser, flow_id: str) -> BrowserBinding:
    """Return the binding of a flow or pending authorization request of this browser."""
    return BrowserBinding.derive(flow_id, browser.cookies[cookie_of(flow_id)])


async def waiting_of(flow_id: str) -> str:
    """Return the id of the authorization request to which a flow leads."""
    row = await fetchrow("SELECT return_to FROM signin_flow WHERE id = $1", flow_id)
    assert row is not None
    return str(row["return_to"]).removeprefix("/authorize/")

"""Another server of ours as the upstream, this one, and an application: a sign-out at the first reaches all."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from idp.accounts.users import create_user
from idp.keys import jose, lifecycle
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.federation.conftest import add
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.isolated import isolated
from tests.support.oauth import PASSWORD
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers
from tests.support.server import Server

__all__ = ["add"]


async def test_a_sign_out_at_the_upstream_ends_the_session_here_and_at_the_application(
    cluster: Cluster,
    template: str,
    server: Server,
    start_server: Callable[..., Server],
    add: Any,
    make_client: MakeClient,
    browser: Browser,
) -> None:
    name, email = f"up-{secrets.token_hex(4)}", f"{secrets.token_hex(6)}@example.com"
    dsn = await cluster.create_database(template)
    async with isolated(dsn):
        await lifecycle.ensure_signing_key("RS256")
        await create_user(email, PASSWORD, email_verified=True)
        registered, secret = await register_client(
            client_name="The server",
            redirect_uris=[f"{server.issuer}/upstreams/{name}/callback"],
            backchannel_logout_uri=f"{server.issuer}/upstreams/{name}/backchannel-logout",
            scope="openid email",
            skip_consent=True,
            application_type="native",
        )
    upstream_server = await asyncio.to_thread(start_server, IDP_DATABASE_URL=dsn)
    upstream = await add(
        id=name,
        issuer=upstream_server.issuer,
        client_id=registered.client_id,
        client_secret=secret,
        scope="openid email",
        trust_email=True,
    )
    async with Receivers() as receivers, open_browser(upstream_server.issuer) as there:
        application = await make_client(
            backchannel_logout_uri=receivers.url("application"), scope="openid", skip_consent=True
        )
        login = as_page(await browser.get("/login"))
        away = await browser.get(f"{login.path}/to/{upstream.id}")
        assert isinstance(away, Redirect), away.text
        back = await there.sign_in(as_page(await there.get(away.location)), email, PASSWORD)
        assert isinstance(back, Redirect), back.text
        await browser.get(back.location)
        tokens = await application.tokens(browser, email)
        assert browser.signed_in
        done = await there.submit(as_page(await there.get("/logout")), "logout-confirm")
        assert "logout-done" in as_page(done).ids
        # The upstream tells this server, which tells the application.
        async with asyncio.timeout(60):
            while not receivers.received:
                await asyncio.sleep(0.05)
        (token,) = parse_qs(receivers.received[0].body.decode())["logout_token"]
        ended, signed_in = jose.unverified_claims(token), jose.unverified_claims(tokens["id_token"])
        assert (ended["sub"], ended["sid"]) == (signed_in["sub"], signed_in["sid"])
        refused = await application.authorize(browser, prompt="none")
        assert isinstance(refused, Redirect)
        assert refused.parameters["error"] == "login_required"

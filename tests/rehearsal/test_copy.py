"""Copies: how they are made, which are refused, and that they are dropped."""

import asyncio
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from idp.accounts.users import create_user
from idp.infra.db import embedded
from idp.rehearsal.copy import PREFIX, Source, _without_password, connect, copied, name_of
from idp.rehearsal.models import CannotRehearseError
from tests.support.isolated import isolated
from tests.support.postgres import Cluster


@pytest.fixture(scope="module")
async def live(cluster: Cluster, template: str) -> str:
    """A database with a user."""
    dsn = await cluster.create_database(template)
    async with isolated(dsn):
        await create_user("alice@example.com", None)
    return dsn


async def users(url: str) -> list[str]:
    connection = await connect(url)
    try:
        return [row["email"] for row in await connection.fetch("SELECT email FROM users")]
    finally:
        await connection.close()


async def exists(cluster: Cluster, name: str) -> bool:
    connection = await asyncpg.connect(cluster.admin_dsn)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name))
    finally:
        await connection.close()


async def refused(source: Source, live: str | None) -> str:
    """Returns why there is no copy."""
    with pytest.raises(CannotRehearseError) as error:
        async with copied(source, live, keep=False, tell=lambda _: None):
            pytest.fail("There is a copy.")
    return error.value.description


def dump(folder: Path, live: str) -> Path:
    program = embedded.find_programs()
    path = folder / "idp.dump"
    subprocess.run([(program / "pg_dump") if program else "pg_dump", "-Fc", "-f", path, live], check=True, timeout=60)
    return path


@pytest.fixture(params=["the database in use", "a dump", "a template", "another server"])
async def source(
    request: pytest.FixtureRequest, cluster: Cluster, live: str, tmp_path: Path
) -> tuple[Source, str | None]:
    match request.param:
        case "a dump":
            path = await asyncio.to_thread(dump, tmp_path, live)
            return Source(dump=path, server=cluster.admin_dsn), None
        case "a template":
            return Source(template=name_of(live)), cluster.admin_dsn
        case "another server":
            return Source(server=cluster.admin_dsn), live
    return Source(), live


@pytest.mark.parametrize("failing", [False, True])
async def test_a_copy_has_the_data_and_is_dropped(
    cluster: Cluster, source: tuple[Source, str | None], failing: bool
) -> None:
    """Also after an error."""
    name = ""
    try:
        async with copied(*source, keep=False, tell=lambda _: None) as url:
            name = name_of(url)
            assert name.startswith(PREFIX)
            assert await users(url) == ["alice@example.com"]
            connection = await connect(url)
            # Somebody who is connected does not prevent it.
            assert await connection.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'users'") in (1, -1)
            if failing:
                raise KeyError("an error")
    except KeyError:
        assert failing
    assert not await exists(cluster, name)
    connection.terminate()


async def test_a_copy_can_be_kept(cluster: Cluster, live: str) -> None:
    async with copied(Source(template=name_of(live)), live, keep=True, tell=lambda _: None) as url:
        name = name_of(url)
    assert await exists(cluster, name)
    await cluster.execute(f"DROP DATABASE {name}")


@pytest.fixture
async def own_copy(cluster: Cluster, live: str) -> str:
    return await cluster.create_database(name_of(live))


async def test_a_copy_of_the_operator_is_used_and_kept(cluster: Cluster, live: str, own_copy: str) -> None:
    async with copied(Source(copy=own_copy), live, keep=False, tell=lambda _: None) as url:
        assert url == own_copy
    assert await users(own_copy) == ["alice@example.com"]


async def test_the_database_in_use_is_no_copy(live: str) -> None:
    """By whatever URL."""
    parts = urlsplit(live)
    other = urlunsplit(parts._replace(query=f"{parts.query}&application_name=other".lstrip("&")))
    for url in (live, other):
        assert "--copy is the database in use" in await refused(Source(copy=url), live)


async def test_a_copy_that_others_use_is_refused(own_copy: str, live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the database in use of another configuration."""
    monkeypatch.setattr("idp.rehearsal.copy.SETTLE_SECONDS", 0.2)
    other = await connect(own_copy)
    try:
        assert "has 1 other connections" in await refused(Source(copy=own_copy), None)
    finally:
        await other.close()


async def test_a_template_that_others_use_is_refused(live: str) -> None:
    other = await connect(live)
    try:
        assert "The template is in use" in await refused(Source(template=name_of(live)), live)
    finally:
        await other.close()


async def test_an_account_that_may_create_no_database(cluster: Cluster, live: str) -> None:
    name = f"idp_test_{secrets.token_hex(4)}"
    await cluster.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        parts = urlsplit(live)
        place = parts.netloc.rpartition("@")[2]
        said = await refused(Source(), urlunsplit(parts._replace(netloc=f"{name}:x@{place}")))
    finally:
        await cluster.execute(f"DROP ROLE {name}")
    assert "permission denied to create database" in said
    assert "--copy" in said


async def test_what_cannot_be_copied(live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "idp.dump"
    path.write_text("no dump")
    assert (await refused(Source(dump=path), live)).startswith("pg_restore failed: ")
    assert "no-such" in await refused(Source(template="no-such"), live)
    assert "not one of a database" in await refused(Source(template='a"b'), live)
    assert "name a dump with --dump" in await refused(Source(server=live), None)
    assert "There is no server for the copy" in await refused(Source(), None)
    unreachable = "postgresql://idp:secret@127.0.0.1:1/idp"
    assert (await refused(Source(copy=unreachable), live)).startswith("PostgreSQL cannot be reached: ")
    assert "secret" not in await refused(Source(copy="postgresql://idp:secret@[/idp"), live)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(embedded, "find_programs", lambda: None)
    assert "Install its client programs" in await refused(Source(), live)


def test_passwords_are_no_arguments_of_programs() -> None:
    """Other users of the machine see those."""
    for url, expected in (
        ("postgresql://idp:s%40cret@db/idp", ("postgresql://idp@db/idp", "s@cret")),
        (
            "postgresql://idp@db/idp?password=secret&sslmode=require",
            ("postgresql://idp@db/idp?sslmode=require", "secret"),
        ),
        ("postgresql:///idp?host=/run/pg", ("postgresql:///idp?host=/run/pg", "")),
        ("postgresql://a,b/idp", ("postgresql://a,b/idp?target_session_attrs=read-write", "")),
    ):
        url_again, password = _without_password(url)
        assert (url_again.replace("%2F", "/"), password) == expected
    assert "PGPASSWORD" not in os.environ

"""A rehearsal from start to end."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import msgspec

from idp import __version__
from idp.infra.db import migrate
from idp.infra.db.engine import configure, connected
from idp.keys import root_key, vault
from idp.rehearsal import copy, measure, repository, smoke
from idp.rehearsal.models import Flow, Report
from idp.rehearsal.servers import RunningServer, ServerFailedError, serving, version_of
from idp.rehearsal.verdict import Limits
from idp.settings import Settings


class Plan(msgspec.Struct, frozen=True):
    """What is rehearsed.

    Attributes:
        new: how `idp` of this version is called.
        old: how `idp` of the version that runs now is called, if its flows are tried too.
        flows: whether servers are started.
        keep: do not drop the copy.
    """

    source: copy.Source
    limits: Limits
    new: Sequence[str]
    old: Sequence[str] | None = None
    flows: bool = True
    keep: bool = False


async def rehearse(plan: Plan, config: Settings, live: str | None, tell: Callable[[str], None]) -> Report:
    """Run the pending migrations on a copy, and the smoke flows at servers on it.

    The old version runs while the migrations do, as its replicas will.

    Args:
        live: the URL of the database in use, if there is one.
        tell: is called with each step that may take long.

    Raises:
        CannotRehearseError: there is no verdict.
    """
    versions = {"new": __version__} | ({"old": await version_of(plan.old)} if plan.old else {})
    if plan.flows:
        # Its error says how to name the master key.
        vault.master_key()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(copy.copied(plan.source, live, keep=plan.keep, tell=tell))
        configure(url)
        await stack.enter_async_context(connected(size=4))
        await migrate.check_version()
        size = await repository.database_size()
        report = Report(True, size, versions, [], [], copy.name_of(url) if plan.keep else None)
        running = []
        if plan.flows and plan.old:
            tell("Starting the old version.")
            running.append(await _start(stack, "old", plan.old, config, url))
        report.migrations = await measure.run_pending(plan.limits, lambda name: tell(f"Running {name}."))
        if plan.flows and not await migrate.pending():
            tell("Starting the new version.")
            try:
                running.append(await _start(stack, "new", plan.new, config, url))
            except ServerFailedError as error:
                report.flows.append(Flow("new", "start", 0.0, error.description))
            else:
                tell("Trying the flows.")
                report.flows += await _flows(running)
        report.go = not any(each.problems for each in report.migrations) and not any(
            flow.failure for flow in report.flows
        )
        return report


async def _start(
    stack: AsyncExitStack, version: str, command: Sequence[str], config: Settings, url: str
) -> RunningServer:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idp-rehearsal-")))
    return await stack.enter_async_context(serving(version, command, config, url, folder))


async def _flows(running: list[RunningServer]) -> list[Flow]:
    await root_key.unlock()
    try:
        account = await smoke.create_account()
    except asyncpg.PostgresError as error:
        return [Flow("new", "create a client and a user", 0.0, f"PostgreSQL says: {error}.")]
    return [flow async for flow in smoke.flows([smoke.Visitor(server, account) for server in running])]

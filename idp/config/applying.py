"""Making the database equal to files: one transaction, by the same services as API and console, all or nothing."""

from collections.abc import Iterable
from uuid import UUID

import asyncpg

from idp.accounts.repository import admin_roles
from idp.admin.roles import Role
from idp.audit.events import record
from idp.config.document import Document
from idp.config.errors import ConfigError, LastOwnerClientError, Problem, StateChangedError
from idp.config.kinds import BY_SECTION, KINDS
from idp.config.kinds.base import KindWithSecret, plain
from idp.config.planning import Plan, Planned, Step, make
from idp.errors import DomainError
from idp.infra.db.cache_invalidation import lock_and_announce
from idp.infra.db.engine import transaction
from idp.oauth.clients.repository import clients

#: No user has it.
_NOBODY = UUID(int=0)


class _RollBackError(DomainError):
    """Ends a trial."""


async def apply(document: Document, revision: str, *, prune: bool = False) -> Plan:
    """Make the changes of a plan, and return it.

    Args:
        revision: that of the plan. If the database has changed since, nothing is changed.
        prune: as for :func:`idp.config.planning.make`.

    Raises:
        ConfigError: an entry is refused. Nothing is changed.
        StateChangedError: the plan is another one now. Nothing is changed.
        LastOwnerClientError: nobody could administer the server any more. Nothing is changed.
    """
    try:
        async with transaction():
            planned = await _locked(document, revision, prune=prune)
            if planned.steps:
                await _perform(planned.steps)
                await _check_result(document, prune=prune)
                await _record(planned.plan)
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        # Another change has waited for this one, and this one for it.
        raise StateChangedError from error
    return planned.plan


async def verify(document: Document, plan: Plan, *, prune: bool = False) -> None:
    """Make the changes of a plan, check the result, and roll all of it back.

    Raises:
        ConfigError, StateChangedError, LastOwnerClientError: as for :func:`apply`.
    """
    try:
        async with transaction():
            await apply(document, plan.revision, prune=prune)
            raise _RollBackError
    except _RollBackError:
        pass


async def _locked(document: Document, revision: str, *, prune: bool) -> Planned:
    """Return the plan, after locking what it changes. Other changes of the same records wait.

    Raises:
        StateChangedError: it has another revision.
    """
    planned = await make(document, prune=prune)
    # In one order, so that two runs do not deadlock.
    changing = [kind for kind in KINDS if any(step.kind is kind for step in planned.steps)]
    for topic in dict.fromkeys(topic for kind in changing for topic in kind.topics):
        await lock_and_announce(topic)
    for kind in changing:
        await kind.lock_rows()
    if changing:
        planned = await make(document, prune=prune)
    if planned.plan.revision != revision:
        raise StateChangedError
    return planned


async def _perform(steps: Iterable[Step]) -> None:
    """
    Raises:
        ConfigError: a service refused a change.
        LastOwnerClientError: nobody could administer the server any more.
    """
    owned = await _has_owner()
    for step in steps:
        if step.item is None:
            await step.kind.delete(step.before)
            continue
        with step.item.located():
            await _change(step)
    if owned and not await _has_owner():
        raise LastOwnerClientError


async def _change(step: Step) -> None:
    assert step.item is not None  # noqa: S101 -- the caller has checked it
    entry = step.item.entry
    if step.before is None:
        await step.kind.create(entry, step.secret)
        return
    if step.changed:
        await step.kind.update(step.before, entry, step.changed)
    if step.secret is not None and isinstance(step.kind, KindWithSecret):
        await step.kind.set_secret(entry, step.secret)


async def _check_result(document: Document, *, prune: bool) -> None:
    """Check that another run would change nothing.

    Raises:
        ConfigError: the server has stored something else than a file says.
    """
    problems = []
    for step in (await make(document, prune=prune)).steps:
        if step.item is None:
            raise StateChangedError
        node = step.item.node
        for name in step.changed or {str(step.kind.secret)}:
            stored = plain(getattr(step.before, name, None))
            problems.append(Problem(node.keys.get(name, node.place), f"{name} is stored as {stored}. Write it so."))
    if problems:
        raise ConfigError(problems)


async def _has_owner() -> bool:
    """Return whether an enabled user or client is an owner."""
    return await admin_roles.has_other_owner(_NOBODY) or any(
        client.admin_role == Role.OWNER and client.disabled_at is None for client in await clients()
    )


async def _record(plan: Plan) -> None:
    """Record the run, beside the events of its changes."""
    numbers = {
        operation: sum(change.operation == operation for change in plan.changes)
        for operation in ("create", "update", "delete")
    }
    sections = [section for section in BY_SECTION if any(change.section == section for change in plan.changes)]
    await record("configuration_applied", detail={"sections": sections, "revision": plan.revision, **numbers})

"""Comparing files with the database: what would change, and what no file names."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import msgspec

from idp.config import references
from idp.config.document import Document, Item
from idp.config.errors import ConfigError, Problem, UnknownNameError
from idp.config.export import objects
from idp.config.kinds import BY_SECTION, KINDS
from idp.config.kinds.base import Identity, Kind, KindWithSecret, Reference, plain, written

Operation = Literal["create", "update", "delete"]


class Field(msgspec.Struct, frozen=True):
    """A field that changes. Of a secret both values are None."""

    name: str
    before: Any
    after: Any


class Change(msgspec.Struct, frozen=True):
    """A change of one object.

    Attributes:
        key: the object, for people.
        losses: what else ends with a deletion.
    """

    operation: Operation
    section: str
    key: str
    fields: list[Field]
    losses: str = ""


class Unmanaged(msgspec.Struct, frozen=True):
    """Objects of a section that no file names."""

    section: str
    keys: list[str]


class Plan(msgspec.Struct, frozen=True):
    """The difference between files and the database.

    Attributes:
        changes: in the order in which they would be made.
        notes: what could not be compared.
        revision: a digest of the state of the database and of the changes. Another one means another plan.
    """

    changes: list[Change]
    unmanaged: list[Unmanaged]
    notes: list[str]
    revision: str


class Step(msgspec.Struct, frozen=True):
    """A change that can be made.

    Attributes:
        item: the entry of a file; None: the object is deleted.
        before: the object as it is; None: it is created.
        changed: the fields that differ, without the secret.
        secret: the secret to set.
    """

    kind: Kind
    item: Item | None
    before: Any
    changed: frozenset[str] = frozenset()
    secret: str | None = None


class Planned(msgspec.Struct, frozen=True):
    """A plan with the steps that it has."""

    plan: Plan
    steps: list[Step]


async def make(document: Document, *, prune: bool = False, secrets: bool = True) -> Planned:
    """Compare files with the database.

    Args:
        prune: delete the objects of sections that a file has, and that no file names.
        secrets: whether every secret that a file names must be there to be compared.

    Raises:
        ConfigError: an entry cannot be applied.
        AmbiguousError: two objects of the database have the same key.
    """
    state = {kind.section: {kind.identity(one): one for one in await objects(kind)} for kind in KINDS}
    problems: list[Problem] = []
    notes: list[str] = []
    steps: list[Step] = []
    for section, items in document.items.items():
        for item in _ordered(items, problems):
            try:
                step = await _step(item, state[section].get(item.identity), notes, secrets=secrets)
            except ConfigError as error:
                problems += error.problems
            else:
                steps += [step] if step is not None else []
    if problems:
        raise ConfigError(problems)
    left = {section: _left(document, section, found) for section, found in state.items()}
    if prune:
        pruned = {section: left.pop(section) for section in document.items}
        steps += [
            Step(kind, None, one)
            for kind in reversed(KINDS)
            if kind.section in pruned
            for one in reversed(_sorted(kind, pruned[kind.section]))
        ]
    changes = [await _change(step) for step in steps]
    unmanaged = [
        Unmanaged(section, [BY_SECTION[section].label(one) for one in found])
        for section, found in left.items()
        if found
    ]
    return Planned(Plan(changes, unmanaged, notes, _revision(state, changes)), steps)


def _left(document: Document, section: str, found: Mapping[Identity, Any]) -> list[Any]:
    named = {item.identity for item in document.items.get(section, ())}
    return [one for identity, one in found.items() if identity not in named]


def _ordered(items: Iterable[Item], problems: list[Problem]) -> Iterator[Item]:
    """Return the entries of a section, each after those that it names."""
    by_key = {item.identity: item for item in items}
    graph = {key: [above for above in item.kind.above(item.entry) if above in by_key] for key, item in by_key.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        item = by_key[error.args[1][0]]
        labels = [by_key[key].kind.label(by_key[key].entry) for key in error.args[1]]
        problems.append(Problem(item.node.place, f"These lead back to where they begin: {', '.join(labels)}."))
        return
    yield from (by_key[key] for key in order)


def _sorted(kind: Kind, found: Iterable[Any]) -> list[Any]:
    """Return objects of the database, each after those that it names."""
    by_key = {kind.identity(one): one for one in found}
    graph = {key: [above for above in kind.above(one) if above in by_key] for key, one in by_key.items()}
    return [by_key[key] for key in TopologicalSorter(graph).static_order()]


async def _step(item: Item, before: Any, notes: list[str], *, secrets: bool) -> Step | None:
    """Return the step for an entry; None: nothing changes.

    Raises:
        ConfigError: its secret is missing, or a fixed field would change.
    """
    kind, entry = item.kind, item.entry
    changed = frozenset(
        name
        for name in {*entry.__struct_fields__} - {kind.secret}
        if before is not None and getattr(entry, name) != getattr(before, name)
    )
    with item.located():
        secret = await _secret(item, before, notes, needed=secrets)
    is_same = before is not None and not changed and secret is None
    try:
        with item.located():
            kind.check(entry)
    except ConfigError as error:
        # What is stored was valid once, and an unchanged object keeps nobody from changing others.
        if not is_same:
            raise
        notes += [f"{kind.section} {kind.label(entry)} is refused now: {each.text}" for each in error.problems]
    if is_same:
        return None
    return Step(kind, item, before, changed, secret)


async def _secret(item: Item, before: Any, notes: list[str], *, needed: bool) -> str | None:
    """Return the secret to set; None: it stays, or there is none.

    Raises:
        InvalidReferenceError, UnknownNameError: it is missing.
    """
    kind, entry = item.kind, item.entry
    if not isinstance(kind, KindWithSecret):
        return None
    reference: Reference | None = getattr(entry, kind.secret)
    stored = before is not None and getattr(before, kind.secret) is not None
    if reference is None:
        if kind.needs_secret(entry) and not stored:
            raise references.InvalidReferenceError(
                f"{kind.secret} is missing. Name where it is, such as {kind.secret}: {{env: NAME}}."
            )
        return None
    if not kind.accepts_secret(entry):
        raise references.InvalidReferenceError(f"{kind.secret} is for an object that has none.")
    references.check(reference)
    try:
        secret = references.resolve(reference)
    except UnknownNameError as error:
        if needed:
            raise
        notes.append(f"{kind.section} {kind.label(entry)}: {kind.secret} is not compared. {error.description}")
        return None
    if stored and await kind.has_secret(entry, secret):
        return None
    kind.check_secret(entry, secret)
    return secret


async def _change(step: Step) -> Change:
    kind = step.kind
    if step.item is None:
        return Change("delete", kind.section, kind.label(step.before), [], await kind.losses(step.before))
    entry, section = step.item.entry, kind.section
    if step.before is None:
        fields = [Field(name, None, value) for name, value in written(kind, entry).items() if name not in kind.key]
        return Change("create", section, kind.label(entry), fields)
    fields = [
        Field(name, plain(getattr(step.before, name)), plain(getattr(entry, name)))
        for name in entry.__struct_fields__
        if name in step.changed
    ]
    if step.secret is not None:
        fields.append(Field(str(kind.secret), None, None))
    return Change("update", section, kind.label(entry), fields)


def _revision(state: Mapping[str, Mapping[Identity, Any]], changes: Iterable[Change]) -> str:
    shown = {section: [plain(one) for one in found.values()] for section, found in state.items()}
    text = msgspec.json.encode([shown, [plain(change) for change in changes]], order="deterministic")
    return hashlib.sha256(text).hexdigest()

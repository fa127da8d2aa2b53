"""The configuration of an export: checked entry by entry, planned and applied as one of files."""

from collections import defaultdict
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from idp import clock, ids
from idp.admin.built_in import build_in, is_own
from idp.config import applying, planning, references, syntax
from idp.config.document import VERSION, Document, Item, parse
from idp.config.errors import ConfigError
from idp.config.export import HEADER
from idp.config.kinds import KINDS
from idp.config.kinds.base import Identity, Kind
from idp.config.planning import Plan
from idp.directory import names
from idp.errors import IdpError
from idp.migration.models import Export
from idp.oauth.claims import registration as claims
from idp.oauth.claims.models import ClaimMapping

#: A role by the key of its name, and its client.
_Role = tuple[str, str | None]


def document(export: Export) -> Document:
    """Return the entries that this server accepts. The others, and what names them, are noted and left out."""
    build_in()
    found: dict[str, list[Item]] = {}
    accepted: set[tuple[str, Identity]] = set()
    contained = _contained(export)
    for kind in KINDS:
        for given in export.entries.get(kind.section, ()):
            what = f"{kind.section} {_label(kind, given)}"
            entry = _without_unknown(export, what, kind.section, given, accepted)
            if entry is not None and "contains" in entry:
                roles = contained[_role(entry)]
                entry["contains"] = [
                    one for one in entry["contains"] if _role(one) in roles and _has_client(one, accepted)
                ]
            item = _item(export, what, kind, entry) if entry is not None else None
            if item is None:
                continue
            if (kind.section, item.identity) in accepted:
                export.skip(what, "There is another one with the same name.")
                continue
            accepted.add((kind.section, item.identity))
            found.setdefault(kind.section, []).append(item)
    export.entries = {section: [item.node.plain() for item in items] for section, items in found.items()}
    return Document(found)


def as_file(export: Export) -> str:
    """Return the accepted entries as a configuration file, without secrets."""
    return HEADER + syntax.write({"version": VERSION, **export.entries})


async def plan(export: Export, accepted: Document, *, update: bool) -> tuple[Document, Plan, list[str]]:
    """Compare entries with the database.

    Args:
        update: whether objects that exist are made equal to the export. Otherwise they are left alone.

    Returns:
        the entries to apply; the plan; and what exists, differs and is left alone.
    """
    with references.given(export.secrets):
        planned = await planning.make(accepted)
        if update:
            return accepted, planned.plan, []
        different = [step.item for step in planned.steps if step.before is not None and step.item is not None]
        left = {(item.kind.section, item.identity) for item in different}
        kept = Document(
            {
                section: [one for one in items if (section, one.identity) not in left]
                for section, items in accepted.items.items()
            }
        )
        labels = [f"{item.kind.section} {item.kind.label(item.entry)}" for item in different]
        return kept, (await planning.make(kept)).plan, sorted(labels)


async def apply(export: Export, kept: Document, revision: str) -> None:
    """Make the changes of a plan.

    Raises:
        ConfigError: an entry is refused. Nothing is changed.
        StateChangedError: the plan is another one now. Nothing is changed.
    """
    with references.given(export.secrets):
        await applying.apply(kept, revision)


def _label(kind: Kind, entry: Mapping[str, Any]) -> str:
    return " of ".join(str(entry[name]) for name in kind.key if entry.get(name) is not None) or "(every client)"


def _item(export: Export, what: str, kind: Kind, entry: Mapping[str, Any]) -> Item | None:
    text = syntax.write({"version": VERSION, kind.section: [entry]})
    try:
        # Errors of a later step begin with what stands for the name of the file.
        (item,) = parse({what: text.encode("utf-8", "replace")}).items[kind.section]
        with item.located():
            kind.check(item.entry)
    except ConfigError as error:
        for problem in error.problems:
            export.skip(what, problem.text)
        return None
    return item


def _without_unknown(
    export: Export, what: str, section: str, entry: Mapping[str, Any], accepted: set[tuple[str, Identity]]
) -> dict[str, Any] | None:
    """Return an entry without what names objects that are left out; None: it needs one of them."""

    def has(section: str, *identity: str | None) -> bool:
        return (section, identity) in accepted

    made = dict(entry)
    client_id = entry.get("client_id")
    if section in ("clients", "resource_servers"):
        made["scope"] = " ".join(_without_own(export, what, entry.get("scope", "")))
    if section in ("roles", "claim_mappings") and client_id is not None and not has("clients", client_id):
        export.skip(what, f"The client {client_id} is left out.")
        return None
    if section == "groups":
        given = entry.get("roles", ())
        made["roles"] = [one for one in given if has("roles", names.key(one["name"]), one.get("client_id"), None)]
        if (parent := entry.get("parent")) is not None and not has("groups", names.key(parent)):
            export.change(what, f"It is in no group, because {parent} is left out.")
            del made["parent"]
    if section == "claim_mappings":
        made["mappings"] = [one for one in entry["mappings"] if _is_mapping(export, what, one, has)]
        if not made["mappings"]:
            return None
    return made


def _without_own(export: Export, what: str, scope: str) -> list[str]:
    """Return the scopes that are not of this server itself. Only an owner gives those."""
    given = scope.split()
    if own := [name for name in given if is_own(name)]:
        export.skip(what, f"Only an owner gives scopes of this server itself: {' '.join(own)}")
    return [name for name in given if name not in own]


def _is_mapping(export: Export, what: str, mapping: dict[str, Any], has: Any) -> bool:
    source = mapping["source"]
    what = f"{what}, claim {mapping['claim']}"
    if mapping.get("scope") is not None and not _without_own(export, what, mapping["scope"]):
        return False
    if source["kind"] == "attribute" and not has("attributes", source["name"]):
        export.skip(what, f"The attribute {source['name']} is left out.")
        return False
    if source.get("client_id") is not None and not has("clients", source["client_id"]):
        export.skip(what, f"The client {source['client_id']} is left out.")
        return False
    own = {"id": ids.uuid7(), "client_id": "any", "created_at": clock.now()}
    try:
        claims.check(msgspec.convert(mapping | own, ClaimMapping))
    except (msgspec.ValidationError, IdpError) as error:
        text = error.description if isinstance(error, IdpError) else f"{error}."
        export.skip(what, text)
        return False
    return True


def _contained(export: Export) -> dict[_Role, set[_Role]]:
    """Return the roles that each role contains, without those that cannot be here, and without circles."""
    given = [role for role in export.entries.get("roles", ()) if _is_name(role["name"])]
    known = {_role(role) for role in given}
    found = {_role(role): {_role(one) for one in role.get("contains", ())} & known for role in given}
    while circle := _circle(found):
        export.change(f"roles {circle[0][0]}", f"It does not contain {circle[1][0]}, which contains it.")
        found[circle[0]].discard(circle[1])
    return defaultdict(set, found)


def _circle(graph: Mapping[_Role, set[_Role]]) -> list[_Role]:
    """Return roles each of which contains the next one, and the last one the first; none: an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # Each is contained in the next one.
        circle: list[_Role] = error.args[1]
        return circle[::-1]
    return []


def _role(written: Mapping[str, Any]) -> _Role:
    return names.key(written["name"]), written.get("client_id")


def _is_name(name: str) -> bool:
    try:
        names.checked(name)
    except names.InvalidNameError:
        return False
    return True


def _has_client(role: Mapping[str, Any], accepted: set[tuple[str, Identity]]) -> bool:
    return role.get("client_id") is None or ("clients", (role["client_id"],)) in accepted

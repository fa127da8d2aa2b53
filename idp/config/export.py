"""Writing the configuration as a file: natural keys, no defaults, no secrets, the same text for the same state."""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from idp.config import syntax
from idp.config.document import VERSION
from idp.config.errors import AmbiguousError
from idp.config.kinds import KINDS
from idp.config.kinds.base import Kind, Reference, written
from idp.infra.db.engine import transaction

#: The first lines of a file. Editors find the schema by the first one.
HEADER: Final = """\
# yaml-language-server: $schema=config.schema.json
# idp config schema > config.schema.json
"""


class Exported(msgspec.Struct, frozen=True):
    """A file, and the environment variables that it names for secrets."""

    text: str
    variables: Sequence[str]


async def export(sections: Collection[str] = ()) -> Exported:
    """Return the configuration as a file.

    Args:
        sections: those to write; empty: all.

    Raises:
        AmbiguousError: two objects have the same key.
    """
    document: dict[str, Any] = {"version": VERSION}
    variables: list[str] = []
    for kind in KINDS:
        if sections and kind.section not in sections:
            continue
        entries = [_with_reference(kind, entry, variables) for entry in await objects(kind)]
        if entries:
            document[kind.section] = [written(kind, entry) for entry in entries]
    return Exported(HEADER + syntax.write(document), variables)


async def objects(kind: Kind) -> list[Any]:
    """Return the objects of a kind, in the order of their keys.

    Raises:
        AmbiguousError: two have the same key.
    """
    async with transaction():
        found = await kind.read()
    by_key = {tuple(value or "" for value in kind.identity(entry)): entry for entry in found}
    if len(by_key) < len(found):
        raise AmbiguousError(
            f"Two objects of {kind.section} have the same {' and '.join(kind.key)}, so that a file cannot name them."
        )
    return [by_key[key] for key in sorted(by_key)]


def _with_reference(kind: Kind, entry: Any, variables: list[str]) -> Any:
    """Return an entry with the name of a variable for its secret."""
    if kind.secret is None or getattr(entry, kind.secret) is None:
        return entry
    name = variable(kind.section, kind.label(entry))
    # Two keys may differ in signs only. One variable would give both objects the same secret.
    number = sum(re.fullmatch(rf"{name}(?:_\d+)?", known) is not None for known in variables)
    variables.append(f"{name}_{number + 1}" if number else name)
    return msgspec.structs.replace(entry, **{kind.secret: Reference(env=variables[-1])})


def variable(section: str, label: str) -> str:
    """Return the name of the environment variable with the secret of an object."""
    owner = re.sub(r"[^A-Z0-9]+", "_", label.upper()).strip("_")
    return f"{section.removesuffix('s').upper()}_{owner}_SECRET"

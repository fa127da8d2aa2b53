"""What an export of another system becomes here."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from idp.accounts.import_files import MalformedRecordError
from idp.config.kinds.base import RoleName
from idp.errors import OperatorError


class ExportError(OperatorError):
    """An export cannot be read. The description names the file and the part of it."""


class Weight(StrEnum):
    """What a note means."""

    #: It has no counterpart here, or is not accepted.
    SKIPPED = "skipped"
    #: It is different here.
    CHANGED = "changed"
    #: Somebody must look at it, or do something.
    TODO = "to do"


class Note(NamedTuple):
    """What was not translated as it is: the object, such as ``client wiki``, and a sentence."""

    weight: Weight
    what: str
    text: str


class Person(NamedTuple):
    """A user of an export.

    Attributes:
        place: where the user is, such as ``acme-users-0.json: users[3]``.
        values: as in a file of ``idp users import``, or why the user cannot be read.
        groups, organizations: names of groups, and slugs.
    """

    place: str
    values: dict[str, Any] | MalformedRecordError
    groups: Sequence[str] = ()
    roles: Sequence[RoleName] = ()
    organizations: Sequence[str] = ()


class Export(msgspec.Struct, kw_only=True):
    """A translated export.

    Attributes:
        entries: what a configuration file would have, by section.
        secrets: the secrets of entries, by the names of the variables that entries have.
        variables: how many entries have secrets with the same name of a variable.
        settings: suggested settings, by their names.
        people: reads the users. What it cannot translate goes to ``lost``.
        lost: what users lose, with the number of users.
    """

    entries: dict[str, list[dict[str, Any]]] = {}
    secrets: dict[str, str] = {}
    notes: list[Note] = []
    settings: dict[str, str] = {}
    people: Callable[[], Iterable[Person]] = tuple
    lost: Counter[str] = msgspec.field(default_factory=Counter)
    variables: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, section: str, entry: Mapping[str, Any]) -> None:
        """Add an entry of a configuration file. Members that are None have their defaults."""
        self.entries.setdefault(section, []).append({name: each for name, each in entry.items() if each is not None})

    def skip(self, what: str, text: str) -> None:
        self.notes.append(Note(Weight.SKIPPED, what, text))

    def change(self, what: str, text: str) -> None:
        self.notes.append(Note(Weight.CHANGED, what, text))

    def todo(self, what: str, text: str) -> None:
        self.notes.append(Note(Weight.TODO, what, text))

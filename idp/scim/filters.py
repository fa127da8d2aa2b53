"""The grammar of filters (RFC 7644 section 3.4.2.2) and of paths in PATCH operations (section 3.5.2).

Also ``emails[type eq "work"].value eq "a@b.example"``, which Entra ID sends and the grammar does not have. It means
``emails[type eq "work" and value eq "a@b.example"]``.

The length, the depth and the number of comparisons are limited.
"""

import re
from collections.abc import Callable
from sys import float_info
from typing import Final, NoReturn

import msgspec

from idp.scim.errors import InvalidFilterError, InvalidPathError, ScimError

MAX_LENGTH: Final = 4000
MAX_DEPTH: Final = 16
MAX_COMPARISONS: Final = 60

OPERATORS: Final = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_ATTRIBUTE: Final = r"\$?[A-Za-z][A-Za-z0-9_-]*"
_TOKEN: Final = re.compile(
    rf"""
    (?P<string>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{{4}})*")
    | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.])
    | (?P<name>(?:[Uu][Rr][Nn]:[A-Za-z0-9._:-]+:)?{_ATTRIBUTE}(?:\.{_ATTRIBUTE})?)
    | (?P<mark>[()\[\].])
    """,
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"[ \t]*")

Value = str | int | float | bool | None


class Path(msgspec.Struct, frozen=True):
    """An attribute, or one of its sub-attributes. Names have the case in which they were sent.

    Attributes:
        schema: the URN before the name, if there is one.
    """

    attribute: str
    sub: str | None = None
    schema: str | None = None

    def __str__(self) -> str:
        return ".".join(filter(None, (self.attribute, self.sub)))


class Comparison(msgspec.Struct, frozen=True):
    """``userName eq "a"``."""

    path: Path
    operator: str
    value: Value


class Present(msgspec.Struct, frozen=True):
    """``title pr``."""

    path: Path


class Not(msgspec.Struct, frozen=True):
    """``not (…)``."""

    inner: "Filter"


class Both(msgspec.Struct, frozen=True):
    """``… and …``, of two or more."""

    terms: "tuple[Filter, ...]"


class Either(msgspec.Struct, frozen=True):
    """``… or …``, of two or more."""

    terms: "tuple[Filter, ...]"


class Selection(msgspec.Struct, frozen=True):
    """``emails[type eq "work"]``: the elements of an attribute that match. In a path also with a sub-attribute."""

    path: Path
    inner: "Filter"
    sub: str | None = None


Filter = Comparison | Present | Not | Both | Either | Selection


def parse_filter(text: str) -> Filter:
    """Return the tree of a filter.

    Raises:
        InvalidFilterError: it is malformed, too long, too deep, or has too many comparisons.
    """
    parser = _Parser(text, InvalidFilterError)
    found = parser.either(0, selecting=False)
    parser.end()
    return found


def parse_path(text: str) -> Path | Selection:
    """Return the tree of the path of a PATCH operation.

    Raises:
        InvalidPathError: it is malformed, too long, too deep, or has too many comparisons.
    """
    parser = _Parser(text, InvalidPathError)
    path = parser.path()
    if not parser.accept("["):
        parser.end()
        return path
    selection = parser.selection(path, 0)
    sub = None
    if parser.accept("."):
        sub = parser.take("name")
        if "." in sub or ":" in sub:
            parser.fail()
    parser.end()
    return msgspec.structs.replace(selection, sub=sub)


class _Parser:
    """A parser by recursive descent, one token ahead."""

    def __init__(self, text: str, error: Callable[[str], ScimError]) -> None:
        self.error = error
        self.text = text
        self.kind, self.token = "", ""
        self.at = 0
        self.comparisons = 0
        if len(text) > MAX_LENGTH:
            self.fail(f"It is longer than {MAX_LENGTH} characters.")
        self._advance()

    def fail(self, reason: str = "") -> NoReturn:
        raise self.error(reason or f"It is malformed before character {self.at + 1}.")

    def _advance(self) -> None:
        space = _SPACE.match(self.text, self.at)
        start = space.end() if space is not None else self.at
        if start == len(self.text):
            self.kind, self.token, self.at = "end", "", start
            return
        found = _TOKEN.match(self.text, start)
        if found is None or found.lastgroup is None:
            self.at = start
            self.fail()
        self.kind, self.token, self.at = found.lastgroup, found[0], found.end()

    def take(self, kind: str) -> str:
        if self.kind != kind:
            self.fail()
        token = self.token
        self._advance()
        return token

    def accept(self, mark: str) -> bool:
        if self.kind != "mark" or self.token != mark:
            return False
        self._advance()
        return True

    def _word(self, word: str) -> bool:
        if self.kind != "name" or self.token.lower() != word:
            return False
        self._advance()
        return True

    def end(self) -> None:
        if self.kind != "end":
            self.fail()

    def either(self, depth: int, *, selecting: bool) -> Filter:
        """Parse ``or``, which binds less than ``and``."""
        if depth > MAX_DEPTH:
            self.fail(f"It is deeper than {MAX_DEPTH} levels.")
        terms = [self._both(depth, selecting=selecting)]
        while self._word("or"):
            terms.append(self._both(depth, selecting=selecting))
        return Either(tuple(terms)) if len(terms) > 1 else terms[0]

    def _both(self, depth: int, *, selecting: bool) -> Filter:
        terms = [self._term(depth, selecting=selecting)]
        while self._word("and"):
            terms.append(self._term(depth, selecting=selecting))
        return Both(tuple(terms)) if len(terms) > 1 else terms[0]

    def _term(self, depth: int, *, selecting: bool) -> Filter:
        if self.accept("("):
            return self._group(depth, selecting=selecting)
        path = self.path()
        if path == Path(path.attribute) and path.attribute.lower() == "not" and self.accept("("):
            return Not(self._group(depth, selecting=selecting))
        if not selecting and self.accept("["):
            return self._selected(path, depth)
        return self._comparison(path)

    def _group(self, depth: int, *, selecting: bool) -> Filter:
        inner = self.either(depth + 1, selecting=selecting)
        if not self.accept(")"):
            self.fail()
        return inner

    def _selected(self, path: Path, depth: int) -> Filter:
        selection = self.selection(path, depth)
        if not self.accept("."):
            return selection
        sub = self.path()
        if sub != Path(sub.attribute):
            self.fail()
        return Selection(path, Both((selection.inner, self._comparison(sub))))

    def selection(self, path: Path, depth: int) -> Selection:
        """Parse what follows ``emails[``."""
        if path.sub is not None:
            self.fail()
        inner = self.either(depth + 1, selecting=True)
        if not self.accept("]"):
            self.fail()
        return Selection(path, inner)

    def path(self) -> Path:
        schema, _, name = self.take("name").rpartition(":")
        attribute, _, sub = name.partition(".")
        return Path(attribute, sub or None, schema or None)

    def _comparison(self, path: Path) -> Filter:
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            self.fail(f"It has more than {MAX_COMPARISONS} comparisons.")
        operator = self.take("name").lower()
        if operator == "pr":
            return Present(path)
        if operator not in OPERATORS:
            self.fail(f"There is no such operator before character {self.at + 1}.")
        return Comparison(path, operator, self._value())

    def _value(self) -> Value:
        if self.kind == "name":
            constants = {"true": True, "false": False, "null": None}
            word = self.take("name").lower()
            if word not in constants:
                self.fail()
            return constants[word]
        if self.kind not in ("string", "number"):
            self.fail()
        try:
            value: Value = msgspec.json.decode(self.token)
        except msgspec.DecodeError:
            self.fail()
        if isinstance(value, str) and "\0" in value:
            self.fail("A text has a character that cannot be stored.")
        if isinstance(value, int) and abs(value) > float_info.max:
            self.fail("A number is too large.")
        self._advance()
        return value

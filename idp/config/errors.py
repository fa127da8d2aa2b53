"""Errors of configuration files, each with its place."""

from collections.abc import Collection
from typing import NamedTuple

from idp.errors import ConflictError, NotFoundError, OperatorError


class Place(NamedTuple):
    """A place in a file. Lines and columns begin with 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """A sentence about a place."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def printable(line: str) -> str:
    """Return a line that cannot send control sequences to a terminal, or turn the direction of text."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


class ConfigError(OperatorError):
    """The files cannot be applied. The description has one line for each problem."""

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(printable(str(problem)) for problem in self.problems))


class StateChangedError(ConflictError):
    """The database is not as it was when the plan was made. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__("The configuration has changed since the plan was made. Nothing was changed. Plan again.")


class LastOwnerClientError(ConflictError):
    """Nobody could administer the server any more. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__("No enabled owner would remain, neither a user nor a client. Nothing was changed.")


class AmbiguousError(ConflictError):
    """Two objects have the same key, so that a file cannot name one of them."""


class UnknownNameError(NotFoundError):
    """An entry names an object that does not exist."""

"""The input of a check, and its findings."""

from collections.abc import AsyncGenerator, Callable
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from idp.settings import Settings


class Level(StrEnum):
    """How bad a finding is, from good to bad."""

    OK = "ok"
    #: Worth knowing; nothing has to be done.
    NOTE = "note"
    #: It works, but it is less secure or less reliable than it should be, or it will stop working.
    WARNING = "warning"
    #: Something does not work, or anybody can abuse it.
    ERROR = "error"

    @property
    def severity(self) -> int:
        return list(Level).index(self)


class Needs(IntEnum):
    """Requirements of a check. Each includes those before it."""

    SETTINGS = 0
    #: A database that can be reached.
    DATABASE = 1
    #: A database with the current schema, and the root key opened.
    RECORDS = 2


class Finding(msgspec.Struct, frozen=True):
    """Something that a check found.

    Attributes:
        name: of this kind of finding, for programs; empty for :attr:`Level.OK`.
        text: one sentence, or a few.
        mend: what to do about it.
    """

    level: Level
    name: str
    text: str
    mend: str = ""


#: What a check yields. Findings before a failure or its deadline are kept.
Findings = AsyncGenerator[Finding, None]


def ok(text: str) -> Finding:
    return Finding(Level.OK, "", text)


def note(name: str, text: str, mend: str) -> Finding:
    return Finding(Level.NOTE, name, text, mend)


def warning(name: str, text: str, mend: str) -> Finding:
    return Finding(Level.WARNING, name, text, mend)


def error(name: str, text: str, mend: str) -> Finding:
    return Finding(Level.ERROR, name, text, mend)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The input of all checks of one examination.

    Attributes:
        provides: what checks may use.
        network: whether they may call other servers.
        send_test: the address that gets a test mail, if any.
        time_server: host of an NTP server, with a port if it is not 123. Empty: none.
        http_port: the port at which the issuer's host may serve plain HTTP.
    """

    settings: Settings
    provides: Needs = Needs.SETTINGS
    network: bool = True
    send_test: str | None = None
    time_server: str = ""
    http_port: int = 80


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of checks.

    Attributes:
        name: for ``--only``, and the heading in docs/doctor.md.
        title: for people.
        needs: without it, the check is skipped.
        network: whether it calls other servers.
        console: whether it may run in a worker, for the console. Checks that call other servers do not.
        seconds: the time after which it is stopped.
    """

    name: str
    title: str
    run: Callable[[Context], Findings]
    needs: Needs = Needs.SETTINGS
    network: bool = False
    console: bool = True
    seconds: float = 15.0


class Result(msgspec.Struct, frozen=True):
    """The findings of one check.

    Attributes:
        skipped: why it did not run; empty if it did.
        docs: where it is described.
    """

    check: str
    title: str
    findings: list[Finding]
    skipped: str = ""
    docs: str = ""

    @property
    def level(self) -> Level:
        """The level of its worst finding."""
        return max((finding.level for finding in self.findings), key=lambda level: level.severity, default=Level.OK)


def exit_code(results: list[Result]) -> int:
    """Return 0 if there is nothing to do, 1 if the worst finding is a warning, 2 if it is an error."""
    worst = max((result.level.severity for result in results), default=0)
    return max(0, worst - Level.NOTE.severity)


def to_json(results: list[Result]) -> dict[str, Any]:
    """Return an examination as JSON."""
    worst = max((result.level for result in results), key=lambda level: level.severity, default=Level.OK)
    return {"level": worst, "exit_code": exit_code(results), "checks": msgspec.to_builtins(results)}

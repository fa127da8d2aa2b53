"""Importing many users from elsewhere, with the password hashes that they have there.

Each batch is one statement in a transaction of its own, and whoever is there already is left as they are: an import
that was interrupted is continued by running it again.
"""

import re
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from idp import clock, ids
from idp.accounts import foreign_hashes
from idp.accounts.addresses import InvalidEmail, normalise_email
from idp.accounts.claims import ADDRESS_MEMBERS, TEXTS, VERIFIED
from idp.accounts.foreign_hashes import HashRefused
from idp.accounts.import_files import Malformed, Record
from idp.accounts.tables import Origin
from idp.audit.events import record as audit
from idp.db.engine import fetch, transaction

BATCH = 500
#: Of any one value, in characters.
MAX_TEXT = 1000

_IN_ADDRESS = {f"address.{member}": member for member in ADDRESS_MEMBERS}
#: What a record may hold: standard claims by their names, and more. A password is here only to be refused.
COLUMNS = TEXTS | VERIFIED.keys() | _IN_ADDRESS.keys() | {"address", "password_hash", "disabled", "password"}

_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_LINES = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_URL = re.compile(r"https?://[^\s/].*")
_BIRTHDATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")

_STORED = ", ".join(sorted(TEXTS | VERIFIED.keys() | {"id", "address", "password_hash", "disabled_at"}))
# PostgreSQL reads a record by the columns of the table: a whole batch is one parameter.
_INSERT = f"""
    INSERT INTO users ({_STORED}, two_step, origin, created_at, updated_at)
    SELECT {_STORED}, false, '{Origin.IMPORT}', now(), now() FROM jsonb_populate_recordset(NULL::users, $1::jsonb)
    ON CONFLICT (email) DO NOTHING RETURNING id
"""  # noqa: S608
_COUNT_EXISTING = "SELECT count(*) FROM users WHERE email = ANY($1)"


class Refusal(NamedTuple):
    """A record that is not imported: its line, its address as it was written, and one plain sentence."""

    line: int
    email: str | None
    reason: str


class Batch(NamedTuple):
    """What became of some records. In a dry run ``imported`` are those that could be."""

    imported: int
    existing: int
    refused: list[Refusal]


async def import_users(records: Iterable[Record], *, dry_run: bool = False) -> AsyncIterator[Batch]:
    """Add users, batch by batch; each one is kept when it is told of. Nobody gets a mail.

    Of two records with one address the first counts. To find the second, some 200 bytes a record stay in memory.

    Raises:
        FileRefused: where the records come from a file that is none of users.
    """
    records, seen = iter(records), dict[int, int]()
    while batch := list(islice(records, BATCH)):
        rows: list[dict[str, Any]] = []
        refused: list[Refusal] = []
        for record in batch:
            try:
                rows.append(_accepted(record, seen))
            except (Malformed, InvalidEmail, HashRefused) as error:
                refused.append(Refusal(record.line, _written_email(record), str(error)))
        imported = len(rows) - await _existing(rows) if dry_run else await _add(rows)
        yield Batch(imported, len(rows) - imported, refused)


async def _add(rows: list[dict[str, Any]]) -> int:
    """Keep those who are not there yet. Returns how many they are."""
    async with transaction():
        added = await fetch(_INSERT, msgspec.json.encode(rows).decode())
        if added:
            await audit("users_imported", detail={"count": len(added)})
    return len(added)


async def _existing(rows: list[dict[str, Any]]) -> int:
    (row,) = await fetch(_COUNT_EXISTING, [row["email"] for row in rows])
    count: int = row["count"]
    return count


def _accepted(record: Record, seen: dict[int, int]) -> dict[str, Any]:
    if isinstance(record.values, Malformed):
        raise record.values
    row = _row(record.values)
    # A hash of 64 bits in place of the address: two of a million are the same once in ten million imports.
    first = seen.setdefault(hash(row["email"]), record.line)
    if first != record.line:
        raise Malformed(f"The address is the same as on line {first}.")
    return row


def _written_email(record: Record) -> str | None:
    email = record.values.get("email") if isinstance(record.values, dict) else None
    return email[:320] if isinstance(email, str) else None


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of a new user, by their names.

    Raises:
        Malformed, InvalidEmail, HashRefused: it cannot be imported as it is.
    """
    values = {name: value for name, value in values.items() if value not in (None, "")}
    if unknown := sorted(values.keys() - COLUMNS):
        raise Malformed(f"There is no column “{unknown[0][:60]}”.")
    if "password" in values:
        raise Malformed("Passwords are not imported, only their hashes: use password_hash.")
    if "email" not in values:
        raise Malformed("There is no email address.")
    row: dict[str, Any] = {name: _claim(name, values[name]) for name in TEXTS & values.keys() - {"email"}}
    row |= {name: _boolean(name, values.get(name, False)) for name in VERIFIED}
    row["id"] = ids.uuid7()
    row["email"] = normalise_email(_text("email", values["email"]))
    row["address"] = _address(values)
    if "password_hash" in values:
        row["password_hash"] = foreign_hashes.check(_text("password_hash", values["password_hash"]))
    if _boolean("disabled", values.get("disabled", False)):
        row["disabled_at"] = clock.now()
    return row


def _claim(name: str, value: object) -> str:
    text = _text(name, value)
    if name in ("profile", "picture", "website") and not _URL.fullmatch(text):
        raise Malformed(f"The {name} is not a URL such as https://example.com/.")
    if name == "birthdate" and not _BIRTHDATE.fullmatch(text):
        raise Malformed("The birthdate is not a date such as 1990-12-31, 0000-12-31 or 1990.")
    return text


def _text(name: str, value: object, unwanted: re.Pattern[str] = _NOT_TEXT) -> str:
    if not isinstance(value, str):
        raise Malformed(f"The {name} is not text.")
    if len(value) > MAX_TEXT:
        raise Malformed(f"The {name} is longer than {MAX_TEXT} characters.")
    if unwanted.search(value):
        raise Malformed(f"The {name} is not UTF-8, or holds control characters.")
    return value.strip()


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    written = value.strip().lower() if isinstance(value, str) else None
    if written not in _YES + _NO:
        raise Malformed(f"The {name} is neither true nor false.")
    return written in _YES


def _address(values: dict[str, Any]) -> dict[str, str] | None:
    """The address claim (OpenID Connect Core section 5.1.1): an object, its JSON, or columns of its members."""
    address = values.get("address", {})
    if isinstance(address, str):
        try:
            address = msgspec.json.decode(address)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            address = None
    if not isinstance(address, dict) or not address.keys() <= set(ADDRESS_MEMBERS):
        raise Malformed(f"The address is not a JSON object of {', '.join(ADDRESS_MEMBERS)}.")
    members = address | {member: values[name] for name, member in _IN_ADDRESS.items() if name in values}
    filled = {name: value for name, value in members.items() if value not in (None, "")}
    return {name: _text(f"address.{name}", value, _NOT_LINES) for name, value in filled.items()} or None

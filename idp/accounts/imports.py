"""Bulk import of users with the password hashes of another system.

Each batch is one statement in its own transaction. Existing users are not changed, so an interrupted import can be
run again, unless the caller wants to follow the other system (:mod:`idp.accounts.import_updates`).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.accounts import import_updates, imported_hashes, kept_subjects
from idp.accounts.addresses import InvalidEmailError, is_same_spelling, normalise_email
from idp.accounts.attributes import records as attribute_records
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.search import PREFIX
from idp.accounts.claims import ADDRESS_MEMBERS, TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.import_files import MalformedRecordError, Record
from idp.accounts.import_models import FindOwners, Identity, NewUser, Release, StoreRelated
from idp.accounts.imported_hashes import UnsupportedHashError
from idp.accounts.repository import users
from idp.accounts.tables import Origin
from idp.accounts.users import SignOut
from idp.audit.events import record as audit
from idp.infra.db.engine import transaction

BATCH_SIZE = 500
#: Maximum length of a value in characters.
MAX_TEXT_LENGTH = 1000

_IN_ADDRESS = {f"address.{member}": member for member in ADDRESS_MEMBERS}
#: The allowed columns: standard claims by name, and others; also those of declared attributes
#: (:func:`idp.accounts.attributes.records.columns`). ``password`` is rejected with its own message.
COLUMNS = (
    TEXT_CLAIMS
    | VERIFICATION_CLAIMS.keys()
    | _IN_ADDRESS.keys()
    | {"address", "password_hash", "disabled", "password", "sub", "totp_secret", "identities"}
)
#: The columns that only an owner fills: they say who a new user is to applications and upstreams, what the user has
#: proved, and with which secrets one signs in to the account, also once its person has proved the address.
OF_OWNERS: Final = ("sub", "identities", *VERIFICATION_CLAIMS, "password_hash", "totp_secret")
#: Maximum number of identities of a user, and maximum length of a subject.
MAX_IDENTITIES, MAX_SUBJECT_LENGTH = 20, 255

_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_LINES = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: A TOTP secret of 10 to 64 bytes in base32 (RFC 4648 section 6), without padding.
_BASE32 = re.compile("[A-Z2-7]{16,103}")
_URL = re.compile(r"https?://[^\s/].*")
_BIRTHDATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


class RejectedRecord(NamedTuple):
    """A rejected record: its line, its address as written, and the reason as one sentence."""

    line: int
    email: str | None
    reason: str


class Batch(NamedTuple):
    """The result of a batch. In a dry run the numbers are those of users that would be imported, or updated.

    ``existing`` includes those that are ``updated``, and ``administrators``, whom no import changes.
    """

    imported: int
    existing: int
    refused: list[RejectedRecord]
    updated: int = 0
    administrators: int = 0


async def import_users(
    records: Iterable[Record],
    store: StoreRelated,
    find_owners: FindOwners,
    release: Release,
    *,
    dry_run: bool = False,
    batch_size: int | None = None,
    after: int = 0,
    update: SignOut | None = None,
    audience: Audience = Audience.OWNER,
) -> AsyncIterator[Batch]:
    """Import users. A batch is committed when it is yielded. Only a changed address gets a mail.

    Of two records with the same address the first is used. Finding duplicates takes about 200 bytes of memory a record.

    Args:
        dry_run: check the records only.
        batch_size: records of a batch; None: :data:`BATCH_SIZE`.
        after: how many records an interrupted import has passed.
        update: update users of an earlier import whom nobody has changed here, except administrators, and end the
            sessions and tokens of whom this locks out. An address of somebody else is refused.
        audience: who imports. Only an owner fills :data:`OF_OWNERS`, and attributes that the audience may not edit.

    Raises:
        InvalidFileError: the file that the records are read from cannot be imported.
    """
    records, seen, size = iter(records), dict[int, int](), batch_size or BATCH_SIZE
    for number, record in enumerate(islice(records, after), 1):
        with suppress(MalformedRecordError, InvalidEmailError, UnsupportedHashError):
            _validate(record, seen, audience)
        if number % size == 0:
            # Others have their turn.
            await asyncio.sleep(0)
    while batch := list(islice(records, size)):
        found: list[NewUser] = []
        refused: list[RejectedRecord] = []
        for record in batch:
            try:
                found.append(_validate(record, seen, audience))
            except (MalformedRecordError, InvalidEmailError, UnsupportedHashError) as error:
                refused.append(RejectedRecord(record.line, _written_email(record), str(error)))
        if update:
            found, others = await import_updates.identified(found)
            refused += [_refused(one, reason) for one, reason in others]
        new, taken = await _without_conflicts(found, find_owners, update=update is not None)
        refused = sorted([*refused, *taken])
        updated, administrators = await import_updates.update(new, store, update, dry_run=dry_run) if update else (0, 0)
        imported = await _count_new(new) if dry_run else await _insert(new, store, release, audience)
        yield Batch(imported, len(new) - imported, refused, updated, administrators)


async def _without_conflicts(
    found: list[NewUser], find_owners: FindOwners, *, update: bool
) -> tuple[list[NewUser], list[RejectedRecord]]:
    """Split users into those without conflicts, and records whose id or identity belongs to another user.

    Args:
        update: whether the user with the id is the same one, whose address has changed.
    """
    by_id = await users.emails_by_id([one.row["id"] for one in found])
    by_identity = await find_owners([(each.issuer, each.subject) for one in found for each in one.identities])
    new: list[NewUser] = []
    refused: list[RejectedRecord] = []
    for one in found:
        own = (None, one.row["email"], *([by_id.get(one.row["id"])] if update else []))
        owners = [("sub", by_id.get(one.row["id"]))]
        owners += [("identity", by_identity.get((each.issuer, each.subject))) for each in one.identities]
        taken = next((what for what, email in owners if email not in own), None)
        if taken is None:
            new.append(one)
        else:
            refused.append(_refused(one, f"The {taken} belongs to another user."))
    return new, refused


def _refused(one: NewUser, reason: str) -> RejectedRecord:
    return RejectedRecord(one.line, one.row["email"], reason)


async def _count_new(new: list[NewUser]) -> int:
    emails = [one.row["email"] for one in new]
    known = {*await users.ids_of_emails(emails)} - {*await users.claimed_emails(emails)}
    ids_ = await users.emails_by_id([one.row["id"] for one in new])
    return sum(one.row["email"] not in known and one.row["id"] not in ids_ for one in new)


async def _insert(new: list[NewUser], store: StoreRelated, release: Release, audience: Audience) -> int:
    """Insert the users that do not exist. Returns their number."""
    async with transaction():
        for email in await users.claimed_emails([one.row["email"] for one in new]):
            await release(email)
        added = await users.insert_users([one.row for one in new], Origin.IMPORT)
        for one in new:
            if one.row["id"] in added and (one.totp_secret is not None or one.identities):
                await store(one.row["id"], one.totp_secret, one.identities)
        values = ((one.row["id"], one.attributes) for one in new if one.row["id"] in added)
        await attribute_records.insert(values, audience)
        if added:
            await audit("users_imported", detail={"count": len(added)})
    return len(added)


def _validate(record: Record, seen: dict[int, int], audience: Audience) -> NewUser:
    if isinstance(record.values, MalformedRecordError):
        raise record.values
    if audience is not Audience.OWNER:
        _check_columns(record.values)
    row = _columns(record.values)
    values = record.values
    secret = _totp_secret(values["totp_secret"]) if values.get("totp_secret") not in (None, "") else None
    row["two_step"] = secret is not None
    identities, has_sub = _identities(values.get("identities")), values.get("sub") not in (None, "")
    new = NewUser(record.line, row, has_sub, secret, identities, attribute_records.read(values, audience))
    unique: list[tuple[str, Any]] = [("address", row["email"]), *([("sub", row["id"])] if has_sub else [])]
    unique += [("identity", identity) for identity in identities]
    # 64-bit hashes replace the values. In an import of a million records, the chance of a collision is about 1 in 10^7.
    for what, value in unique:
        first = seen.setdefault(hash((what, str(value))), record.line)
        if first != record.line:
            raise MalformedRecordError(f"The {what} is the same as on line {first}.")
    return new


def _check_columns(values: dict[str, Any]) -> None:
    """
    Raises:
        MalformedRecordError: a column is filled that only an owner fills. A verification that is false is none.
    """
    for name in OF_OWNERS:
        value = values.get(name)
        if value and (name not in VERIFICATION_CLAIMS or _boolean(name, value)):
            raise MalformedRecordError(f"Only an owner may import the column {name}. Leave it out.")


def _written_email(record: Record) -> str | None:
    email = record.values.get("email") if isinstance(record.values, dict) else None
    return email[:320] if isinstance(email, str) else None


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """Validate a record and return the columns of the new user by name.

    Raises:
        MalformedRecordError, InvalidEmailError, UnsupportedHashError: a value is not valid.
    """
    values = {name: value for name, value in values.items() if value not in (None, "")}
    unknown = sorted(
        name for name in values.keys() - COLUMNS if name != attribute_records.COLUMN and not name.startswith(PREFIX)
    )
    if unknown:
        raise MalformedRecordError(f"There is no column “{unknown[0][:60]}”.")
    if "password" in values:
        raise MalformedRecordError("Passwords are not imported, only their hashes: use password_hash.")
    if "email" not in values:
        raise MalformedRecordError("There is no email address.")
    row: dict[str, Any] = {name: _claim(name, values[name]) for name in TEXT_CLAIMS & values.keys() - {"email"}}
    row |= {name: _boolean(name, values.get(name, False)) for name in VERIFICATION_CLAIMS}
    row["id"] = _sub(values["sub"]) if "sub" in values else ids.uuid7()
    told = _text("email", values["email"])
    row["email"] = normalise_email(told)
    row["email_verified"] = row["email_verified"] and is_same_spelling(told, row["email"])
    row["address"] = _address(values)
    if "password_hash" in values:
        row["password_hash"] = imported_hashes.validate(_text("password_hash", values["password_hash"]))
    if _boolean("disabled", values.get("disabled", False)):
        row["disabled_at"] = clock.now()
    return row


def _sub(value: object) -> UUID:
    subject = _text("sub", value)
    with suppress(ValueError):
        subject = str(UUID(subject))
    found = kept_subjects.user_id(subject)
    if found is None:
        raise MalformedRecordError("The sub is neither a UUID nor of another form that can be kept. Leave it out.")
    return found


def _totp_secret(value: object) -> str:
    secret = _text("totp_secret", value).replace(" ", "").rstrip("=").upper()
    if not _BASE32.fullmatch(secret) or len(secret) % 8 in (1, 3, 6):
        raise MalformedRecordError("The totp_secret is not base32 of 10 to 64 bytes.")
    return secret


def _identities(value: object) -> list[Identity]:
    """Validate identities, given as a list of objects or as its JSON."""
    if value in (None, ""):
        return []
    try:
        found = (
            msgspec.json.decode(value, type=list[Identity])
            if isinstance(value, str)
            else msgspec.convert(value, list[Identity])
        )
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedRecordError("The identities are not a JSON list of objects with issuer and subject.") from error
    if len(found) > MAX_IDENTITIES or len({(one.issuer, one.subject) for one in found}) < len(found):
        raise MalformedRecordError(f"The identities are more than {MAX_IDENTITIES}, or one of them is there twice.")
    for one in found:
        if not _URL.fullmatch(_text("issuer", one.issuer)):
            raise MalformedRecordError("The issuer of an identity is not a URL such as https://example.com.")
        if not one.subject or len(one.subject) > MAX_SUBJECT_LENGTH or not one.subject.isprintable():
            raise MalformedRecordError("The subject of an identity is not text of up to 255 characters.")
    return found


def _claim(name: str, value: object) -> str:
    text = _text(name, value)
    if name in ("profile", "picture", "website") and not _URL.fullmatch(text):
        raise MalformedRecordError(f"The {name} is not a URL such as https://example.com/.")
    if name == "birthdate" and not _BIRTHDATE.fullmatch(text):
        raise MalformedRecordError("The birthdate is not a date such as 1990-12-31, 0000-12-31 or 1990.")
    return text


def _text(name: str, value: object, unwanted: re.Pattern[str] = _NOT_TEXT) -> str:
    if not isinstance(value, str):
        raise MalformedRecordError(f"The {name} is not text.")
    if len(value) > MAX_TEXT_LENGTH:
        raise MalformedRecordError(f"The {name} is longer than {MAX_TEXT_LENGTH} characters.")
    if unwanted.search(value):
        raise MalformedRecordError(f"The {name} is not UTF-8, or holds control characters.")
    return value.strip()


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    written = value.strip().lower() if isinstance(value, str) else None
    if written not in _YES + _NO:
        raise MalformedRecordError(f"The {name} is neither true nor false.")
    return written in _YES


def _address(values: dict[str, Any]) -> dict[str, str] | None:
    """Validate an address (OpenID Connect Core section 5.1.1), given as object, JSON, or columns of members."""
    address = values.get("address", {})
    if isinstance(address, str):
        try:
            address = msgspec.json.decode(address)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            address = None
    if not isinstance(address, dict) or not address.keys() <= set(ADDRESS_MEMBERS):
        raise MalformedRecordError(f"The address is not a JSON object of {', '.join(ADDRESS_MEMBERS)}.")
    members = address | {member: values[name] for name, member in _IN_ADDRESS.items() if name in values}
    filled = {name: value for name, value in members.items() if value not in (None, "")}
    return {name: _text(f"address.{name}", value, _NOT_LINES) for name, value in filled.items()} or None

"""Import of users: accepted values, records that are refused, and the effect on the others."""

import csv
import io
import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts import import_files, imports
from idp.accounts.addresses import normalise_email
from idp.accounts.attributes.models import Audience
from idp.accounts.claims import claims_of
from idp.accounts.import_files import InvalidFileError, read_csv, read_json_lines
from idp.accounts.imports import COLUMNS, RejectedRecord, import_users
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.federation.repository import emails_of_identities
from idp.signin.factors.imports import release, store
from tests.support.imports import PASSWORD, foreign_hashes, people

HASH = foreign_hashes()["bcrypt"]


@pytest.fixture
def domain(db: str) -> str:
    """A domain without any addresses yet."""
    return f"{secrets.token_hex(6)}.example.com"


class Outcome:
    """The result of importing a file."""

    imported: int = 0
    existing: int = 0
    refused: list[RejectedRecord]

    def __init__(self) -> None:
        self.refused = []

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.imported, self.existing, len(self.refused)


async def run(records: Iterable[import_files.Record], *, dry_run: bool = False) -> Outcome:
    outcome = Outcome()
    async for batch in import_users(records, store, emails_of_identities, release, dry_run=dry_run):
        outcome.imported += batch.imported
        outcome.existing += batch.existing
        outcome.refused += batch.refused
    return outcome


async def from_csv(text: str | bytes, **options: Any) -> Outcome:
    data = text.encode() if isinstance(text, str) else text
    return await run(read_csv(io.BytesIO(data), COLUMNS), **options)


async def from_json(*lines: object, **options: Any) -> Outcome:
    data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return await run(read_json_lines(io.BytesIO(data)), **options)


async def known(email: str) -> User:
    user = await user_by_email(normalise_email(email))
    assert user is not None
    return user


@pytest.mark.fault(1)
async def test_a_verified_address_of_another_spelling_is_not_verified(domain: str) -> None:
    records = [
        {"email": f"{name}@{domain}", "email_verified": True} for name in ("Plain", "\uff56ictim", "stra\u00dfe")
    ]
    assert (await from_json(*records)).counts == (3, 0, 0)
    found = [(await known(f"{name}@{domain}")).email_verified for name in ("plain", "victim", "strasse")]
    assert found == [True, False, False]


async def test_every_claim_is_imported(domain: str) -> None:
    claims = {
        "name": "Zoë Example", "given_name": "Zoë", "family_name": "Example", "middle_name": "M", "nickname": "zz",
        "preferred_username": "zoe", "profile": "https://example.com/zoe", "picture": "https://example.com/zoe.png",
        "website": "http://zoe.example.com", "gender": "female", "birthdate": "0000-02-29", "locale": "de-DE",
        "zoneinfo": "Europe/Berlin", "phone_number": "+49 30 1", "phone_number_verified": True, "email_verified": True,
        "address": {"street_address": "Street 1\nBack", "locality": "Berlin", "country": "DE"},
    }  # fmt: skip
    assert (await from_json(claims | {"email": f"Zoë@{domain}", "password_hash": HASH})).counts == (1, 0, 0)
    user = await known(f"zoë@{domain}")
    assert claims_of(user, claims) == claims
    assert await verify_password(user.password_hash, PASSWORD)
    assert user.disabled_at is None
    assert user.created_at is not None


async def test_columns_have_the_meaning_of_keys(domain: str) -> None:
    text = (
        "email,email_verified,name,disabled,address,address.country,password_hash\r\n"
        f'one@{domain},TRUE,"Says ""hi"", often",no,"{{""locality"": ""Berlin""}}",DE,{HASH}\r\n'
        f"two@{domain},0,,yes,,,\r\n"
    )
    assert (await from_csv(text)).counts == (2, 0, 0)
    one, two = await known(f"one@{domain}"), await known(f"two@{domain}")
    assert (one.email_verified, one.name, one.disabled_at) == (True, 'Says "hi", often', None)
    assert claims_of(one, ["address"]) == {"address": {"locality": "Berlin", "country": "DE"}}
    assert (two.email_verified, two.name, two.address, two.password_hash) == (False, None, None, None)
    assert two.disabled_at is not None


async def test_byte_order_mark_line_ends_and_empty_lines(domain: str) -> None:
    bom = b"\xef\xbb\xbf"
    lines = f"email,name\r\n\r\none@{domain},Ä\r\ntwo@{domain},B".encode()
    assert (await from_csv(bom + lines)).counts == (2, 0, 0)
    lines = f'{{"email": "three@{domain}"}}\r\n\r\n  \n{{"email": "four@{domain}"}}'.encode()
    assert (await run(read_json_lines(io.BytesIO(bom + lines)))).counts == (2, 0, 0)


async def test_a_field_may_go_over_lines(domain: str) -> None:
    text = f'email,address.formatted\n"one@{domain}","Street 1\r\nBerlin"\nbad\ntwo@{domain},\n'
    outcome = await from_csv(text)
    assert outcome.imported == 2
    assert [refusal.line for refusal in outcome.refused] == [4]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"email": ""}, "no email address"),
    ({"email": None}, "no email address"),
    ({"email": "nobody"}, "@-sign"),
    ({"email": ["a@example.com"]}, "email is not text"),
    ({"password": "secret"}, "Passwords are not imported"),
    ({"password_hash": "secret"}, "no kind that is known"),
    ({"password_hash": "$2b$31$" + "C" * 21 + "." + "C" * 31}, "more work"),
    ({"password_hash": "x" * 1001}, "longer than 1000"),
    ({"first_name": "A"}, "no column “first_name”"),
    ({"sub": "1"}, "neither a UUID"),
    ({"sub": "auth0|euclid"}, "neither a UUID"),
    ({"name": 5}, "name is not text"),
    ({"name": "A\0"}, "control characters"),
    ({"name": "A\x1b[31m"}, "control characters"),
    ({"name": "A\nBcc: b@example.com"}, "control characters"),
    ({"name": "A" * 1001}, "longer than 1000"),
    ({"email_verified": "perhaps"}, "neither true nor false"),
    ({"email_verified": 1}, "neither true nor false"),
    ({"disabled": {}}, "neither true nor false"),
    ({"picture": "javascript:alert(1)"}, "not a URL"),
    ({"website": "https://"}, "not a URL"),
    ({"birthdate": "31.12.1990"}, "not a date"),
    ({"birthdate": "1990-13-01"}, "not a date"),
    ({"address": "Street 1"}, "not a JSON object"),
    ({"address": '["Street 1"]'}, "not a JSON object"),
    ({"address": {"street": "1"}}, "not a JSON object"),
    ({"address": {"country": 1}}, "address.country is not text"),
    ({"address.country": {}}, "address.country is not text"),
    ({"address.country": "\0"}, "control characters"),
]


@pytest.mark.parametrize(("values", "reason"), REFUSED, ids=[str(values)[:40] for values, _ in REFUSED])
async def test_a_refused_line_does_not_stop_the_import(domain: str, values: dict[str, Any], reason: str) -> None:
    """It is reported with its line, its address and a sentence, and the others are imported."""
    bad = {"email": f"bad@{domain}"} | values
    outcome = await from_json({"email": f"one@{domain}"}, bad, {"email": f"two@{domain}"})
    assert outcome.imported == 2
    (refusal,) = outcome.refused
    assert refusal.line == 2
    assert refusal.email == (bad["email"] if isinstance(bad["email"], str) else None)
    assert reason in refusal.reason
    assert refusal.reason.endswith(".")
    assert await User.count().where(User.email.like(f"%@{domain}")) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b'["email"]', "not a JSON object"),
        (b'{"email": "\xff@example.com"}', "UTF-8"),
        (b'{"email": "a\\ud800@example.com"}', "JSON"),
        (b'{"email": "a@example.com", "name": "' + b"x" * 200_000 + b'"}', "too long"),
        (b'{"address": ' + b"[" * 60_000, "JSON|nested"),
        ('{"email": "a@example.com"}'.encode("utf-16-le"), "JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_lines_that_are_no_records(domain: str, line: bytes, reason: str) -> None:
    outcome = await from_json({"email": f"one@{domain}"}, line, {"email": f"two@{domain}"})
    assert outcome.counts == (2, 0, 1)
    assert outcome.refused[0].line == 2
    assert any(part in outcome.refused[0].reason for part in reason.split("|"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a@example.com", "1 fields, but 2 columns"),
        (b"a@example.com,A,B", "3 fields, but 2 columns"),
        (b"a@example.com,\xff", "UTF-8"),
        (b"\xff@example.com,A", "UTF-8"),
        (b"a@example.com,A\0", "control characters"),
        (b'a@example.com,"A"B', "quote"),
        (b"a@example.com," + b"x" * 100_000, "longer than 1000"),
        (b",A", "no email"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_rows_that_are_no_records(domain: str, line: bytes, reason: str) -> None:
    data = b"\n".join([b"email,name", f"one@{domain},A".encode(), line, f"two@{domain},B".encode()])
    outcome = await from_csv(data)
    assert outcome.counts == (2, 0, 1)
    assert outcome.refused[0].line == 3
    assert reason in outcome.refused[0].reason


async def test_a_quote_left_open_does_not_swallow_the_file(domain: str) -> None:
    lines = [f"user{number}@{domain},Somebody" for number in range(5000)]
    lines[10] = f'bad@{domain},"Somebody'
    outcome = await from_csv("\n".join(["email,name", *lines]))
    assert outcome.imported > 2500
    first = outcome.refused[0]
    assert first.line == 12
    assert "a quote is not closed" in first.reason


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not name the columns"),
        ("name\nAlice", "of which email is needed"),
        ("email,frist_name\n", "no column “frist_name”"),
        ("email,given_nam\n", "Did you mean given_name?"),
        ("email,email\n", "twice"),
        ("alice@example.com,Alice\n", "no column “alice@example.com”"),
        ("email;name\n", "no column “email;name”"),
        ("\x1b[31m,email\n", "no column “�[31m”"),
        ('"email\n', "comma-separated"),
    ],
)
async def test_files_that_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidFileError, match=r"^[A-Z].*[.?]$") as raised:
        await from_csv(text)
    assert sentence in str(raised.value)


async def test_no_user_is_imported_twice(domain: str) -> None:
    lines = [{"email": f"alice@{domain}", "name": "First"}, {"email": f" ALICE@{domain.upper()}", "name": "Second"}]
    outcome = await from_json(*lines)
    assert outcome.counts == (1, 0, 1)
    assert outcome.refused == [RejectedRecord(2, lines[1]["email"], "The address is the same as on line 1.")]
    assert (await known(f"alice@{domain}")).name == "First"
    assert (await from_json(*lines)).counts == (0, 1, 1)


async def test_a_refused_line_leaves_its_address_to_the_next(domain: str) -> None:
    email = f"alice@{domain}"
    assert (await from_json({"email": email, "name": 1}, {"email": email})).counts == (1, 0, 1)


async def test_existing_users_are_unchanged(domain: str) -> None:
    await from_json({"email": f"alice@{domain}", "name": "Alice", "password_hash": HASH})
    before = await known(f"alice@{domain}")
    outcome = await from_json({"email": f"alice@{domain}", "name": "Mallory", "disabled": True})
    assert outcome.counts == (0, 1, 0)
    assert (await known(f"alice@{domain}")).to_dict() == before.to_dict()


async def test_a_dry_run_changes_nothing(domain: str) -> None:
    await from_json({"email": f"one@{domain}"})
    lines = [{"email": f"one@{domain}"}, {"email": f"two@{domain}"}, {"email": "bad"}]
    events = await AuditEvent.count()
    assert (await from_json(*lines, dry_run=True)).counts == (1, 1, 1)
    assert await user_by_email(f"two@{domain}") is None
    assert await AuditEvent.count() == events
    assert (await from_json(*lines)).counts == (1, 1, 1)


async def test_batches_are_kept_one_by_one_each_with_its_event(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted import has kept the reported batches, and is continued by running it again."""
    monkeypatch.setattr(imports, "BATCH_SIZE", 40)
    lines = [json.dumps(person).encode() for person in people(100, domain)]
    records = list(read_json_lines(io.BytesIO(b"\n".join(lines))))
    imported = AuditEvent.select(AuditEvent.id, AuditEvent.detail).where(AuditEvent.event == "users_imported")
    others = {event["id"] for event in await imported}
    async for batch in import_users(records, store, emails_of_identities, release):
        assert batch.imported == 40
        break
    count = User.count().where(User.email.like(f"%@{domain}"))
    assert await count == 40
    assert (await run(records)).counts == (60, 40, 0)
    assert await count == 100
    events = [event for event in await imported.order_by(AuditEvent.id) if event["id"] not in others]
    assert [json.loads(event["detail"])["count"] for event in events] == [40, 40, 20]


async def test_an_event_that_cannot_be_recorded_undoes_its_batch(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(imports, "audit", fail)
    with pytest.raises(ZeroDivisionError):
        await from_json({"email": f"one@{domain}"})
    assert await user_by_email(f"one@{domain}") is None


async def test_every_kind_of_hash(domain: str) -> None:
    """Several thousand users from CSV, all of whom could sign in."""
    file = io.StringIO()
    users = list(people(3000, domain))
    table = csv.DictWriter(file, users[0])
    table.writeheader()
    table.writerows(user | {"address": json.dumps(user["address"])} for user in users)
    assert (await from_csv(file.getvalue())).counts == (3000, 0, 0)
    for number in range(len(foreign_hashes())):
        user = await known(f"person.{number}@{domain}")
        assert await verify_password(user.password_hash, PASSWORD)
        assert not await verify_password(user.password_hash, "another password")


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.text(alphabet='email,name@"\n\r\0é{}:[]', max_size=200).map(str.encode))
def test_any_bytes_can_be_read(data: bytes) -> None:
    records = [*read_json_lines(io.BytesIO(data)), *read_csv(io.BytesIO(b"email,name\n" + data), COLUMNS)]
    for record in records:
        for audience in Audience:
            with suppress(ValueError):
                imports._validate(record, {}, audience)


async def test_a_file_is_read_as_it_is_needed(domain: str) -> None:
    class File(io.BytesIO):
        lines = 0

        def readline(self, size: int | None = -1) -> bytes:
            self.lines += 1
            return super().readline(size)

    file = File(b"".join(b'{"email": "user%d@%s"}\n' % (number, domain.encode()) for number in range(2000)))
    async for _ in import_users(read_json_lines(file), store, emails_of_identities, release, dry_run=True):
        assert file.lines <= imports.BATCH_SIZE + 1
        break

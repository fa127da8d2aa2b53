"""Standard claims from a user's record (OpenID Connect Core sections 5.1 and 5.3.2)."""

from datetime import UTC, datetime
from typing import Any

from idp.accounts.claims import ADDRESS_MEMBERS, CLAIMS_BY_SCOPE, claims_of
from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.conftest import MakeUser
from tests.support.rows import user_row

EVERY_CLAIM = [claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims]

FILLED: dict[str, Any] = {
    "name": "Alice Example",
    "given_name": "Alice",
    "family_name": "Example",
    "middle_name": "M",
    "nickname": "al",
    "preferred_username": "alice",
    "profile": "https://example.com/alice",
    "picture": "https://example.com/alice.png",
    "website": "https://alice.example",
    "gender": "female",
    "birthdate": "1990-01-02",
    "zoneinfo": "Europe/Paris",
    "locale": "en-GB",
    "phone_number": "+33123456789",
    "phone_number_verified": True,
    "email_verified": True,
    "address": {"formatted": "1 Rue\nParis", "country": "FR"},
}


async def test_a_full_record_yields_every_claim_of_every_scope(make_user: MakeUser) -> None:
    user = await make_user(email="Full@Example.com", **FILLED)
    claims = claims_of(user, EVERY_CLAIM)
    assert set(claims) == set(EVERY_CLAIM)
    updated_at = claims.pop("updated_at")
    assert isinstance(updated_at, int)
    assert claims == FILLED | {"email": "full@example.com"}


async def test_both_kinds_of_row_say_the_same(make_user: MakeUser) -> None:
    """Piccolo's objects, and the rows of plain statements."""
    user = await make_user(**FILLED)
    row = await fetchrow("SELECT * FROM users WHERE id = $1", user.id)
    assert row is not None
    read = await User.objects().get(User.id == user.id)
    assert read is not None
    assert claims_of(row, EVERY_CLAIM) == claims_of(read, EVERY_CLAIM)


def test_empty_claims_are_omitted() -> None:
    user = user_row(name="", address="{}", updated_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert claims_of(user, EVERY_CLAIM) == {
        "email": "a@example.com",
        "email_verified": False,
        "updated_at": 1767312000,
    }


def test_only_requested_claims_are_returned() -> None:
    user = user_row(name="Alice", password_hash="$argon2id$", profile="https://a.example")
    assert claims_of(user, ["name"]) == {"name": "Alice"}
    assert claims_of(user, ["password_hash", "id", "created_at", "disabled_at", "sub", "nonsense", ""]) == {}
    assert claims_of(user, []) == {}


def test_an_address_holds_the_members_of_the_specification() -> None:
    user = user_row(address='{"country": "FR", "region": "", "secret": "x"}')
    assert claims_of(user, ["address"]) == {"address": {"country": "FR"}}
    assert "street_address" in ADDRESS_MEMBERS

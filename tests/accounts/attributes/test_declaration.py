"""Declaring attributes, changing and deleting them."""

import asyncio
import secrets
from typing import Any

import pytest

from idp.accounts.attributes import declaration, repository, service
from idp.accounts.attributes.declaration import MAX_CHOICES, check
from idp.accounts.attributes.errors import InvalidAttributeError, UnknownAttributeError
from idp.accounts.attributes.models import MAX_ATTRIBUTES, Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import CLAIMS_BY_SCOPE, PROTECTED_CLAIMS
from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from tests.conftest import MakeClient
from tests.support.attributes import Declare, values_changed

LABEL = {"default": "Department", "de": "Abteilung", "pt-BR": "Departamento"}
STRING: dict[str, Any] = {"name": "department", "type": "string", "label": LABEL}
INTEGER, DATE = STRING | {"type": "integer"}, STRING | {"type": "date"}
CHOICE = STRING | {"type": "choice", "choices": ["a", "b"]}


@pytest.mark.parametrize(
    "wrong",
    [
        *(STRING | {"name": name} for name in ("Department", "1st", "a-b", "", "a" * 51, "ä", "a.b", "a\0", "email")),
        *(STRING | {"name": name} for name in ("sub", "birthdate", "client_id", "amr")),
        *(STRING | {"label": label} for label in ({}, {"de": "x"}, {"default": ""}, {"default": "a\u202eb"})),
        *(STRING | {"label": LABEL | wrong} for wrong in ({"d": "x"}, {"de": " x"}, {"de": "x" * 101}, {"de\0": "x"})),
        *(STRING | {"type": kind} for kind in ("text", "", None, "STRING")),
        *(
            STRING | {"pattern": pattern}
            for pattern in ("(", "(?=a)b", r"(a)\1", "a)|(b", "(a{1000}){1000}", "x" * 201)
        ),
        *(STRING | limits for limits in ({"min_length": -1}, {"max_length": 1001}, {"min_length": 3, "max_length": 2})),
        *(STRING | limits for limits in ({"minimum": 1}, {"max_length": 0}, {"choices": ["a"]})),
        *(INTEGER | limits for limits in ({"minimum": 1.5}, {"minimum": 2, "maximum": 1}, {"maximum": 2**53})),
        *(INTEGER | limits for limits in ({"pattern": "1"}, {"max_length": 3}, {"minimum": "2020-01-01"})),
        *(DATE | limits for limits in ({"minimum": "2020-02-30"}, {"minimum": 1}, {"maximum": "2020-1-1"})),
        STRING | {"type": "number", "minimum": float("nan")},
        *(CHOICE | {"choices": choices} for choices in ([], ["a", "a"], [""], ["a\n"], [" a"], ["\u202e"], [1])),
        CHOICE | {"choices": [str(number) for number in range(MAX_CHOICES + 1)]},
        STRING | {"type": "boolean", "multivalued": True},
        STRING | {"visible_to": ["support"], "editable_by": ["person"]},
        *(STRING | {"visible_to": who} for who in (["owner"], ["nobody"], "person")),
        *(STRING | {"registration": value} for value in ("optional", "required", "yes")),
        STRING | {"required_for": ["*"]},
        STRING | {"claim": "department"},
        *(STRING | {"scope": scope} for scope in ("a b", "", 'a"b', "ä", "x" * 101)),
        *(
            STRING | {"scope": "work", "claim": claim}
            for claim in ("sub", "Sub", "Email_Verified", "Groups", "__proto__", "email", "cnf", "", "a b", 'a"b', "ä")
        ),
        STRING | {"surprise": 1},
        {"name": "department", "type": "string"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidAttributeError):
        check(wrong)


def test_the_claim_has_the_name_of_the_attribute_by_default() -> None:
    assert check(STRING | {"scope": "work"}).claim == "department"
    assert check(STRING | {"scope": "work", "claim": "https://example.com/dep"}).claim == "https://example.com/dep"
    assert check(STRING).claim is None


def test_labels_by_language() -> None:
    attribute = check(STRING)
    found = {language: attribute.text(language) for language in ("en", "de", "de_AT", "pt_BR", "pt-BR", "pt")}
    assert found == {
        "en": "Department", "de": "Abteilung", "de_AT": "Abteilung", "pt_BR": "Departamento", "pt-BR": "Departamento",
        "pt": "Department",
    }  # fmt: skip


def test_protected_claims_and_those_of_people_are_apart() -> None:
    standard = {claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims}
    assert standard.isdisjoint(PROTECTED_CLAIMS)


async def test_names_and_claims_are_unique(declare: Declare) -> None:
    scope = secrets.token_hex(4)
    first = await declare(scope=scope)
    with pytest.raises(InvalidAttributeError, match="already exists"):
        await declare(name=first.name)
    with pytest.raises(InvalidAttributeError, match="released in this claim"):
        await declare(scope=scope, claim=first.claim)
    assert [one.name for one in attributes.released([scope])] == [first.name]


async def test_a_client_must_exist(declare: Declare, make_client: MakeClient) -> None:
    party = await make_client()
    stored = await declare(editable_by=["person"], required_for=[party.client_id, "*"])
    with pytest.raises(InvalidAttributeError, match="clients does not exist"):
        await declaration.update(stored.name, required_for=["nowhere"])


async def test_name_type_and_number_of_values_stay(declare: Declare) -> None:
    stored = await declare()
    for changes in ({"name": "other"}, {"type": "integer"}, {"multivalued": True}):
        with pytest.raises(InvalidAttributeError, match="cannot be changed"):
            await declaration.update(stored.name, **changes)
    with pytest.raises(UnknownAttributeError):
        await declaration.update("unknown", label=LABEL)


async def test_a_change_applies_to_the_version_that_was_read(declare: Declare) -> None:
    stored = await declare()
    changed = await declaration.update(stored.name, stored.updated_at, label=LABEL)
    assert changed is not None
    assert changed.label == LABEL
    assert await declaration.update(stored.name, stored.updated_at, position=1) is None
    assert await declaration.delete(stored.name, stored.updated_at) is None
    # What stays the same is no change.
    again = await declaration.update(stored.name, label=LABEL)
    assert again is not None
    assert again.updated_at == changed.updated_at
    events = await fetch(_EVENTS, stored.name)
    assert [row["event"] for row in events] == ["attribute_declared", "attribute_updated"]


_EVENTS = "SELECT event, detail FROM audit_event WHERE detail ->> 'attribute' = $1 ORDER BY id"


async def test_values_go_with_their_attribute(declare: Declare, alice: User) -> None:
    stored = await declare(multivalued=True)
    await service.change(alice.id, {stored.name: ["a", "b"]})
    assert await repository.count_values(stored.name) == 2
    assert await declaration.delete(stored.name) == 2
    assert await service.stored_values(alice.id) == {}
    last = (await fetch(_EVENTS, stored.name))[-1]
    assert (last["event"], '"values": 2' in last["detail"]) == ("attribute_deleted", True)
    with pytest.raises(UnknownAttributeError):
        await declaration.delete(stored.name)
    # A new one of this name begins without values.
    await values_changed(stored.name)
    await declare(name=stored.name)
    assert await service.values(alice.id) == {}


async def test_a_value_and_the_deletion_of_its_attribute_at_once(declare: Declare, alice: User) -> None:
    """Either the value goes with the attribute, or it is refused."""
    for _ in range(5):
        stored = await declare()
        results = await asyncio.gather(
            *(service.change(alice.id, {stored.name: str(number)}) for number in range(3)),
            declaration.delete(stored.name),
            return_exceptions=True,
        )
        assert all(not isinstance(one, Exception) or "no attribute with this name" in str(one) for one in results)
        await values_changed(stored.name)
        assert await fetchrow("SELECT FROM user_attribute WHERE attribute = $1", stored.name) is None


async def test_there_is_a_limit(declare: Declare) -> None:
    known = await repository.attributes()
    for _ in range(MAX_ATTRIBUTES - len(known)):
        await declare()
    with pytest.raises(InvalidAttributeError, match="at most 100"):
        await declare()


async def test_who_sees_and_edits(declare: Declare) -> None:
    own = await declare(visible_to=["person"], editable_by=["person"], position=1)
    both = await declare()
    hidden = await declare(visible_to=[], editable_by=[])
    names = {own.name, both.name, hidden.name}
    seen = {who: [one.name for one in attributes.visible(who) if one.name in names] for who in Audience}
    assert seen == {
        Audience.PERSON: [both.name, own.name],
        Audience.SUPPORT: [both.name],
        Audience.OWNER: [*sorted({both.name, hidden.name}), own.name],
    }
    edited = {who: {one.name for one in attributes.editable(who)} & names for who in Audience}
    assert edited == {Audience.PERSON: {own.name}, Audience.SUPPORT: {both.name}, Audience.OWNER: names}

"""Identifiers of users that clients carry without being able to read or compare them."""

import string
from collections.abc import Iterator
from uuid import UUID

import pytest

from idp import ids
from idp.keys import sealed_ids, vault
from idp.keys.sealed_ids import seal, unseal

USER = UUID("01234567-89ab-7def-8123-456789abcdef")
TOKEN = b"t" * 16


@pytest.fixture(autouse=True)
def known_key() -> Iterator[None]:
    before = vault._root_key
    vault.unlock(bytes(range(32)))
    yield
    vault.unlock(before)


def test_it_is_read_back() -> None:
    for user in (USER, ids.uuid7(), UUID(int=0)):
        sealed = seal(user, "refresh-token", TOKEN)
        assert len(sealed) == sealed_ids.LENGTH
        assert unseal(sealed, "refresh-token", TOKEN) == user


def test_the_same_values_always_give_the_same_text() -> None:
    """Also in another process and release: a refresh token is made again byte for byte."""
    assert seal(USER, "refresh-token", TOKEN) == "wnC4ZYTBE6PrIAn1OqtgRaWmQb1id58ZMbj4RXEvbn4"


def test_a_user_looks_different_in_each_token_and_kind_of_token() -> None:
    sealed = {
        seal(USER, purpose, token) for purpose in ("refresh-token", "authorization-code") for token in (TOKEN, b"u")
    }
    assert len(sealed) == 4
    # No two of them share a part that could be compared.
    assert len({text[:22] for text in sealed}) == len({text[22:] for text in sealed}) == 4
    assert str(USER) not in "".join(sealed)


def test_it_opens_for_its_token_and_purpose_alone() -> None:
    sealed = seal(USER, "refresh-token", TOKEN)
    assert unseal(sealed, "refresh-token", b"u" * 16) is None
    assert unseal(sealed, "authorization-code", TOKEN) is None
    # The separator between the purpose and the token is sealed too.
    assert unseal(seal(USER, "ab", b"c"), "a", b"bc") is None


def test_it_opens_under_its_key_alone() -> None:
    sealed = seal(USER, "refresh-token", TOKEN)
    vault.unlock(bytes(32))
    assert unseal(sealed, "refresh-token", TOKEN) is None


def test_no_character_can_be_changed() -> None:
    """The last character, which has two unused bits, has no second spelling either."""
    sealed = seal(USER, "refresh-token", TOKEN)
    alphabet = f"{string.ascii_letters}{string.digits}-_+/=. é"
    for place, character in enumerate(sealed):
        for other in alphabet.replace(character, ""):
            assert unseal(sealed[:place] + other + sealed[place + 1 :], "refresh-token", TOKEN) is None


@pytest.mark.parametrize(
    "value", ["", "a", "=" * 43, "A" * 43, "A" * 42, "A" * 44, "é" * 43, "\x00" * 43, None, 7, b"A" * 43, ["A" * 43]]
)
def test_anything_else_opens_to_nothing(value: object) -> None:
    assert unseal(value, "refresh-token", TOKEN) is None


def test_the_cipher_is_made_once() -> None:
    """Its key schedule costs more than its work."""
    seal(USER, "refresh-token", TOKEN)
    made = sealed_ids._cipher.cache_info().misses
    for _ in range(3):
        unseal(seal(USER, "refresh-token", TOKEN), "refresh-token", TOKEN)
    assert sealed_ids._cipher.cache_info().misses == made

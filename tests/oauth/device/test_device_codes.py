"""Device codes and user codes (:mod:`idp.oauth.device.codes`)."""

import math

import pytest

from idp.oauth.device import codes


@pytest.mark.parametrize(
    "typed",
    [
        "BCDF-GHJK",
        "bcdfghjk",
        " bcdf ghjk ",
        "BCDF\u2013GHJK",
        "B.C.D.F.G.H.J.K",
        "8C0F-6HJK",
        "\uff22\uff23\uff24\uff26\uff27\uff28\uff2a\uff2b",
        "BCOF-GHJK",
    ],
)
def test_how_people_type_a_code(typed: str) -> None:
    """Case, separators and look-alikes do not matter."""
    assert codes.read_user_code(typed) == "BCDF-GHJK"


@pytest.mark.parametrize(
    "typed", ["", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF-GHJ\0", "-" * 100_000, "BCDFGHJ\u0663"]
)
def test_what_cannot_be_a_code(typed: str) -> None:
    assert codes.read_user_code(typed) is None


def test_every_new_code_is_read_as_itself() -> None:
    for _ in range(1000):
        code = codes.new_user_code()
        assert codes.read_user_code(code) == code


def test_the_alphabet_has_no_two_that_look_alike() -> None:
    """RFC 8628 section 6.1: no vowels, so no words; enough codes that few guesses find none."""
    assert not set(codes.ALPHABET) & set("AEIOUY0123456789Q")
    assert codes.LENGTH * math.log2(len(codes.ALPHABET)) > 33


@pytest.mark.parametrize(
    "code",
    ["", "a" * 42, "a" * 44, "a" * 42 + "\n", "a" * 42 + "=", "é" * 43, "a" * 100_000],
    ids=["none", "short", "long", "newline", "padding", "not ascii", "very long"],
)
def test_what_cannot_be_a_device_code(code: str) -> None:
    assert codes.device_code_hash(code) is None


def test_a_device_code_has_256_bits() -> None:
    code = codes.new_device_code()
    assert len(code) == 43
    assert codes.device_code_hash(code) is not None

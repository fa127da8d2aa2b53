"""The names of groups, organizations and roles."""

import pytest

from idp.directory import names
from idp.directory.names import InvalidNameError


@pytest.mark.parametrize("name", ["Engineering", "engineering/backend", "Büro 2", "администраторы", "מפתחים", "開発者"])
def test_names(name: str) -> None:
    assert names.checked(name) == name


def test_a_name_is_stored_in_one_form() -> None:
    assert names.checked("Bu\u0308ro") == "B\u00fcro"


@pytest.mark.parametrize(
    "name",
    {
        "empty": "",
        "spaces": " x",
        "long": "x" * 101,
        "NUL": "a\0b",
        "line": "a\nb",
        "override": "admin\u202etxt",
        "isolate": "\u2067admin\u2069",
        "zero width": "ad\u200bmin",
        "filler": "ad\u3164min",
        "surrogate": "a\ud800",
        "Cyrillic a": "\u0430dmin",
        "Greek o": "supp\u03bfrt",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_not_a_name(name: tuple[str, str]) -> None:
    with pytest.raises(InvalidNameError):
        names.checked(name[1])


def test_a_long_text_is_not_normalised() -> None:
    """Normalisation takes quadratic time."""
    long = "a" + "\u0315\u0300" * 500_000
    with pytest.raises(InvalidNameError):
        names.checked(long)
    with pytest.raises(InvalidNameError):
        names.checked_description(long)
    assert len(names.key(long)) < 1000


@pytest.mark.parametrize(
    ("one", "other"), [("Admins", "aDMINS"), ("Admins", "\uff21dmins"), ("Straße", "STRASSE"), ("ﬁnance", "finance")]
)
def test_names_that_are_the_same(one: str, other: str) -> None:
    assert names.key(one) == names.key(other)


@pytest.mark.parametrize("slug", ["a", "0", "acme", "acme-north", "x" * 63])
def test_slugs(slug: str) -> None:
    assert names.checked_slug(slug) == slug


@pytest.mark.parametrize(
    "slug",
    {
        "empty": "",
        "long": "x" * 64,
        "upper case": "Acme",
        "hyphen before": "-a",
        "hyphen after": "a-",
        "dot": "a.b",
        "space": "a b",
        "line": "acme\n",
        "NUL": "ac\0me",
        "Cyrillic a": "\u0430cme",
        "full width": "\uff41cme",
        "digit of another script": "a\u0661",
        "override": "acme\u202e",
        "like an id": "00000000-0000-7000-8000-000000000000",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_not_a_slug(slug: tuple[str, str]) -> None:
    with pytest.raises(InvalidNameError):
        names.checked_slug(slug[1])

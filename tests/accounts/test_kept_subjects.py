"""Subjects of another issuer that ids contain."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp import ids
from idp.accounts import kept_subjects
from idp.oauth import subjects

HEX = st.text("0123456789abcdef", min_size=24, max_size=24)
NUMBER = st.integers(0, 2**96 - 1)


@given(HEX, NUMBER)
def test_each_follows_from_the_other(hex: str, number: int) -> None:
    named = [f"auth0|{hex}", f"email|{hex}", f"sms|{hex}", f"windowslive|{hex[:16]}", f"linkedin|{hex[:10]}"]
    named += [f"{name}|{number}" for name in ("google-oauth2", "github", "facebook", "twitter")]
    found = [kept_subjects.user_id(subject) for subject in named]
    assert [kept_subjects.text(user_id) for user_id in found if user_id is not None] == named
    assert len(set(found)) == len(named)
    assert {(user_id.version, user_id.variant) for user_id in found if user_id} == {(8, "specified in RFC 4122")}


@given(st.uuids() | st.builds(ids.uuid7) | st.uuids(version=4))
def test_other_ids_are_their_own_subject(user_id: UUID) -> None:
    assert kept_subjects.text(user_id) == str(user_id)
    assert kept_subjects.user_id(str(user_id)) == user_id


@pytest.mark.parametrize(
    "subject",
    ["", "auth0|", "auth0|euclid", "auth0|012", "auth0|5F7C8EC7C33C6C004BBAFE82", f"github|{2**96}", "github|-1",
     "github| 1", "github|٣", "waad|abc", "samlp|adfs|ada", "apple|000123.ab.0123", "linkedin|abc",
     "auth0|" + "1" * 1000, "AAAAAAAA-1111-4222-8333-444444444444", "a" * 32, "p"],
)  # fmt: skip
def test_others_cannot_be_kept(subject: str) -> None:
    assert kept_subjects.user_id(subject) is None


def test_the_id_that_contains_a_subject_is_no_subject() -> None:
    """A user has one public subject."""
    user_id = kept_subjects.user_id("auth0|5f7c8ec7c33c6c004bbafe82")
    assert user_id is not None
    assert kept_subjects.user_id(str(user_id)) is None


def test_no_form_looks_like_a_pairwise_subject() -> None:
    assert not any(form.prefix.startswith(subjects._PREFIX) for form in kept_subjects.FORMS)


def test_ids_keep_their_meaning() -> None:
    """Forms are only added at the end: stored ids contain their places."""
    assert str(kept_subjects.user_id("auth0|5f7c8ec7c33c6c004bbafe82")) == "b4dac017-df23-8b1f-833c-6c004bbafe82"
    assert str(kept_subjects.user_id("google-oauth2|117233456789012345678")) == "b4dac080-0000-8019-9af0-e7d1f42ff34e"
    assert str(kept_subjects.user_id("linkedin|aB-_000001")) == "b4dac240-0000-8000-82a5-fbf000000001"

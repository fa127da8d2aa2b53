"""The log of refused requests of SCIM, and an outage of the database."""

from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from idp.errors import NoSigningKeyError, TooManyRequestsError
from idp.infra.db import outages
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.request_context import refusal
from idp.scim import answers, errors
from idp.scim.errors import ScimError

#: An error of each class.
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ScimError)]


@pytest.fixture(autouse=True)
def nothing_refused() -> None:
    refusal.set(None)


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in ERRORS if kind is not ScimError]
    assert len(codes) > 10
    assert len(set(codes)) == len(codes)
    assert ScimError.code not in codes


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (errors.InvalidFilterError("It compares 'canary'."), "invalid_filter", None),
        (errors.UniquenessError("Another user is canary@example.com."), "uniqueness", None),
        (TooManyRequestsError(60), "temporarily_unavailable", "too_many_tries"),
        (NoSigningKeyError("RS256"), "temporarily_unavailable", "no_signing_key"),
        (DatabaseUnavailableError("canary"), "temporarily_unavailable", "database_unavailable"),
        (asyncpg.CharacterNotInRepertoireError("canary"), "invalid_request", None),
        (asyncpg.UntranslatableCharacterError("canary"), "invalid_request", None),
    ],
)
def test_the_log_has_the_code_and_not_what_was_sent(error: Exception, code: str, reason: str | None) -> None:
    request: Any = None
    assert answers.translate(request, error) is not None
    refused = refusal.get()
    assert refused is not None
    assert (refused.error, refused.reason) == (code, reason)
    assert "canary" not in str(refused)


def test_an_outage_of_the_database_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log and by the readiness check, as at every other endpoint."""
    request: Any = None
    monkeypatch.setattr(outages, "_observed", {})
    with capture_logs() as logs:
        assert answers.translate(request, DatabaseUnavailableError()) is not None
        found = answers.error_of(DatabaseUnavailableError())
    assert found is not None
    status, _, headers = found
    assert (status, headers) == (503, {"Retry-After": "5"})
    assert {line["event"] for line in logs} == {"database_unavailable"}
    assert outages.observed(outages.LOST, 60)

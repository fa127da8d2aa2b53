"""Rows with a value for every required column."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from idp import clock, ids
from idp.accounts.tables import Origin, User
from idp.signin.tables import Session


def user_row(**values: Any) -> User:
    """Return an unsaved user."""
    return User(**({"email": "a@example.com", "origin": Origin.OPERATOR} | values))


def session_row(user_id: UUID, expires_at: datetime | None = None) -> Session:
    """Return an unsaved session with one password step."""
    now = clock.now()
    return Session(
        token_hash=ids.digest(ids.random_token()),
        user_id=user_id,
        auth_time=now,
        steps=[],
        amr=["pwd"],
        acr="1",
        user_agent="",
        ip_address="",
        last_seen_at=now,
        expires_at=expires_at or now + timedelta(hours=1),
    )

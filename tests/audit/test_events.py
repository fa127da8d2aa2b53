"""Audit events are stored in the transaction of their change, whatever characters they contain."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from idp import ids
from idp.audit.events import record
from idp.audit.tables import AuditEvent
from idp.infra.db.engine import transaction
from idp.infra.request_context import client_address, request_id

pytestmark = pytest.mark.usefixtures("db")


async def stored(session_id: UUID) -> dict[str, Any] | None:
    row: dict[str, Any] | None = await AuditEvent.select().where(AuditEvent.session_id == session_id).first()
    return row


async def test_the_columns_of_an_event() -> None:
    user_id, session_id = ids.uuid7(), ids.uuid7()
    address, request = client_address.set("2001:db8::1"), request_id.set("the-request")
    try:
        await record(
            "sign_in",
            outcome="failure",
            user_id=user_id,
            client_id="shop",
            session_id=session_id,
            detail={"reason": "wrong password", "amr": ["pwd"]},
        )
    finally:
        client_address.reset(address)
        request_id.reset(request)
    row = await stored(session_id)
    assert row is not None
    assert (row["event"], row["outcome"], row["user_id"], row["client_id"]) == ("sign_in", "failure", user_id, "shop")
    assert (row["ip_address"], row["request_id"]) == ("2001:db8::1", "the-request")
    assert msgspec.json.decode(row["detail"]) == {"reason": "wrong password", "amr": ["pwd"]}


async def test_an_event_goes_with_its_transaction() -> None:
    session_id = ids.uuid7()

    async def record_and_fail() -> None:
        async with transaction():
            await record("sign_in", session_id=session_id)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await record_and_fail()
    assert await stored(session_id) is None


async def test_characters_that_postgresql_cannot_store() -> None:
    """An audit event must never be what fails a request."""
    session_id = ids.uuid7()
    address = client_address.set("\0")
    try:
        await record(
            "sign_in",
            client_id="a\0b\ud800",
            session_id=session_id,
            detail={"k\0": ["\0", {"x": "\udfff!"}, ("a",), 1, None, True]},
        )
    finally:
        client_address.reset(address)
    row = await stored(session_id)
    assert row is not None
    assert row["client_id"] == "ab?"
    assert row["ip_address"] == ""
    assert msgspec.json.decode(row["detail"]) == {"k": ["", {"x": "?!"}, ["a"], 1, None, True]}


async def test_a_line_in_the_log_says_the_same_but_the_detail() -> None:
    user_id = ids.uuid7()
    with capture_logs() as lines:
        await record("user_disabled", user_id=user_id, detail={"reason": "left", "note": "kept in the row alone"})
    assert lines == [
        {
            "event": "audit",
            "log_level": "info",
            "audit_event": "user_disabled",
            "outcome": "success",
            "user_id": str(user_id),
            "client_id": None,
            "session_id": None,
            "reason": "left",
        }
    ]

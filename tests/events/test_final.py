"""Which responses of a receiver of Shared Signals end the delivery of a token."""

import pytest

from idp.events.ssf.tokens import HANDLER
from idp.infra.outbound import Answer


@pytest.mark.parametrize(
    ("status", "body", "final"),
    [
        (400, b'{"err": "invalid_request"}', True),
        (400, b'{"err": "authentication_failed"}', False),
        (503, b'{"err": "invalid_request"}', False),
        (400, b'{"err": []}', False),
        (400, b"[]", False),
        (400, b"\xff", False),
        (400, b"[" * 50_000, False),
    ],
)
def test_a_refusal_is_final(status: int, body: bytes, final: bool) -> None:
    """RFC 8935 section 2.3. Anything else is tried again."""
    assert HANDLER.is_final(Answer(status, {}, body)) is final

"""The value of an authorization code or an ``auth_req_id``: a secret, and the sealed id of its user, which every
statement on it needs.

The stored digest covers both parts.
"""

import re
from typing import NamedTuple
from uuid import UUID

from idp import ids
from idp.errors import Refused
from idp.keys import sealed_ids
from idp.reasons import Reason

AUTHORIZATION_CODE = "authorization-code"
_CODE = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")


class PresentedCode(NamedTuple):
    """A well-formed code of this server, which may be unknown, used or expired."""

    user_id: UUID
    hash: bytes


def new(user_id: UUID, purpose: str = AUTHORIZATION_CODE) -> str:
    """Return a code that is not stored yet. It is not valid for another purpose."""
    secret = ids.random_token()
    return f"{secret}.{sealed_ids.seal(user_id, purpose, secret.encode())}"


def read(code: str, purpose: str = AUTHORIZATION_CODE) -> PresentedCode | Refused:
    """Return a code of this server, or the reason why the string is none. No query is needed."""
    match = _CODE.fullmatch(code)
    if match is None:
        return Refused(Reason.MALFORMED)
    user_id = sealed_ids.unseal(match[2], purpose, match[1].encode())
    return PresentedCode(user_id, ids.digest(code)) if user_id is not None else Refused(Reason.BAD_SIGNATURE)

"""The rules of workload identity."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

#: What ``*`` in a subject stands for: a part of it, which has neither colons nor slashes.
_PART = "[^:/]+"


class WorkloadIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: tokens of this issuer with this subject and audience authenticate a client.

    Attributes:
        subject: the ``sub``; ``*`` stands for one part of it, without colons and slashes.
        audience: the only ``aud``.
        jwks, jwks_uri: the keys of the issuer. Without both, its discovery document names them.
        single_use: each token is accepted once, by its ``jti``.
    """

    id: UUID
    client_id: str
    issuer: str
    subject: str
    audience: str
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    single_use: bool = True
    created_at: datetime

    def fits(self, subject: str, audience: object) -> bool:
        """Return whether a token has the subject and the audience. One for several audiences is refused, because each
        of them could use it here.
        """
        audiences = audience if isinstance(audience, list) else [audience]
        return audiences == [self.audience] and _pattern(self.subject).fullmatch(subject) is not None


@lru_cache(maxsize=1024)
def _pattern(subject: str) -> re.Pattern[str]:
    """Return the pattern of a subject. It takes linear time, because it reads tokens that nobody has verified.

    Of the text after a ``*``, the first occurrence is taken for good (an atomic group). A later one could not fit
    better: the next ``*`` may stand for what is between them.
    """
    first, *texts = map(re.escape, subject.split("*"))
    *inner, last = texts or [""]
    ends = f"{_PART}{last}" if texts else ""
    return re.compile(first + "".join(f"(?>{_PART}?{text})" for text in inner) + ends)

"""Answers of hooks. They are read strictly: what is not expected makes an answer invalid."""

import math
import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from idp.accounts.claims import PROTECTED_CLAIMS, VERIFICATION_CLAIMS
from idp.errors import RemoteError
from idp.infra import strict_json
from idp.oauth.claims.models import Place
from idp.oauth.token_hook.models import Added

#: Maximum number of claims in one place, and bytes of all of them as JSON: tokens travel in headers.
MAX_CLAIMS, MAX_CLAIMS_BYTES = 50, 4096
MAX_DEPTH: Final = 5
#: Maximum number of characters of a reason.
MAX_REASON: Final = 200
#: As of mappings (:mod:`idp.oauth.claims.registration`).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")
#: Claims with a meaning of their own, and those that applications trust because we verified them. Some readers of JSON
#: ignore case.
_REFUSED = frozenset(name.lower() for name in {*PROTECTED_CLAIMS, *VERIFICATION_CLAIMS, *VERIFICATION_CLAIMS.values()})
_LARGEST: Final = 2**53 - 1


class InvalidAnswerError(RemoteError):
    """An answer is not as docs/token-hook.md says."""


class DeniedError(RemoteError):
    """The hook denies the tokens. Its reason is for the operator."""


def read(body: bytes, places: Collection[Place]) -> Added:
    """Return the claims of an answer.

    Args:
        places: those that were asked about.

    Raises:
        DeniedError: the answer denies the tokens. One with ``deny`` does, whatever else it has.
        InvalidAnswerError: it is not valid.
    """
    try:
        answer = strict_json.decode_object(body)
    except ValueError as error:
        raise InvalidAnswerError("It is not a JSON object without repeated members.") from error
    if "deny" in answer:
        raise DeniedError(_reason(answer["deny"]))
    if not answer.keys() <= {"claims"}:
        raise InvalidAnswerError("It has other members than claims or deny.")
    claims = answer.get("claims", {})
    if not isinstance(claims, dict) or not claims.keys() <= set(places):
        raise InvalidAnswerError(f"claims may have the members {', '.join(places)}.")
    return {Place(place): _checked(place, content) for place, content in claims.items()}


def _reason(deny: Any) -> str:
    text = deny.get("reason", "") if isinstance(deny, dict) else deny
    return "".join(filter(str.isprintable, text))[:MAX_REASON] if isinstance(text, str) else ""


def _checked(place: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or len(content) > MAX_CLAIMS:
        raise InvalidAnswerError(f"claims.{place} must be an object of up to {MAX_CLAIMS} claims.")
    for name, value in content.items():
        if not _NAME.fullmatch(name):
            raise InvalidAnswerError(f"A name in claims.{place} is not allowed.")
        if name.lower() in _REFUSED:
            raise InvalidAnswerError(f"claims.{place} has the protected claim {name}.")
        if value is None or not _is_allowed(value, MAX_DEPTH):
            raise InvalidAnswerError(f"The value of {name} in claims.{place} is not allowed.")
    try:
        size = len(msgspec.json.encode(content))
    except UnicodeError as error:
        raise InvalidAnswerError(f"claims.{place} has half a character.") from error
    if size > MAX_CLAIMS_BYTES:
        raise InvalidAnswerError(f"claims.{place} is longer than {MAX_CLAIMS_BYTES} bytes.")
    return content


def _is_allowed(value: Any, depth: int) -> bool:
    """Return whether readers of JSON agree on a value."""
    if isinstance(value, dict):
        return depth > 0 and all(_is_allowed(name, 0) and _is_allowed(each, depth - 1) for name, each in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_allowed(each, depth - 1) for each in value)
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool) or abs(value) <= _LARGEST

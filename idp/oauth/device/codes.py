"""The device code, which only the device has, and the user code, which people read and type (RFC 8628 section 6.1)."""

import hmac
import re
import secrets
from typing import Final

from idp import ids
from idp.accounts import typed_codes
from idp.keys import vault
from idp.oauth.grant_types import DEVICE_CODE

GRANT_TYPE: Final = DEVICE_CODE

#: Consonants that no other character of the alphabet looks like: no vowels, so no words; 19^8 codes, 34 bits.
ALPHABET: Final = "BCDFGHJKLMNPRSTVWXZ"
LENGTH: Final = 8
#: What people read in place of a letter of the alphabet.
_LOOK_ALIKES = str.maketrans("0OQ1I2568UY", "DDDLLZSGBVV")
_DEVICE_CODE = re.compile(r"[A-Za-z0-9_-]{43}")


def new_device_code() -> str:
    return ids.random_token()


def device_code_hash(code: str) -> bytes | None:
    """Return the stored form of a device code; None if the text cannot be one."""
    return ids.digest(code) if _DEVICE_CODE.fullmatch(code) else None


def new_user_code() -> str:
    """Return a user code as it is shown: ``WDJB-MJHT``."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return f"{letters[: LENGTH // 2]}-{letters[LENGTH // 2 :]}"


def read_user_code(typed: str) -> str | None:
    """Return a user code as it is shown from what a person typed; None if it cannot be one.

    Case, spaces and separators do not matter, and look-alikes count as the letter that they look like.
    """
    letters = typed_codes.normalise_code(typed).upper().translate(_LOOK_ALIKES)
    if len(letters) != LENGTH or not set(letters) <= set(ALPHABET):
        return None
    return f"{letters[: LENGTH // 2]}-{letters[LENGTH // 2 :]}"


def user_code_hash(code: str) -> bytes:
    """Return the stored form of a user code as it is shown: an HMAC, because it is short."""
    return hmac.digest(vault.derive("user-code"), code.encode(), "sha256")

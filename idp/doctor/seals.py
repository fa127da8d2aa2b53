"""Tokens with which a doctor asks a server how a request arrived.

They are sealed under a key that is derived from the master key, so only one who has that can make them, and only a
server that has it answers. Neither needs the database.
"""

import hmac
import re
from hashlib import sha256

from idp import clock
from idp.keys import vault

#: Lifetime in seconds, which also covers the difference between the clocks of the two machines.
LIFETIME = 300
_TOKEN = re.compile(r"([0-9]{10})\.([A-Za-z0-9_-]{16,64})\.([0-9a-f]{64})")


def make(nonce: str) -> str:
    """Return a token for one visit.

    Raises:
        SecretsError: there is no master key.
    """
    content = f"{clock.timestamp() + LIFETIME}.{nonce}"
    return f"{content}.{_mac('question', content)}"


def read(token: str) -> str | None:
    """Return the nonce of a valid token, or None for any other text.

    Raises:
        SecretsError: there is no master key.
    """
    found = _TOKEN.fullmatch(token)
    if found is None or not hmac.compare_digest(found[3], _mac("question", f"{found[1]}.{found[2]}")):
        return None
    return found[2] if 0 <= int(found[1]) - clock.timestamp() <= 2 * LIFETIME else None


def proof(nonce: str) -> str:
    """Return what only a server with the same master key can answer to a nonce."""
    return _mac("answer", nonce)


def _mac(purpose: str, content: str) -> str:
    return hmac.digest(vault.derive_outside(f"doctor-{purpose}"), content.encode(), sha256).hex()

"""Single use of signed values, over all servers of a database."""

import hashlib
from datetime import datetime
from uuid import UUID

from idp.oauth.replay import repository

#: Maximum length of the ``jti`` of an assertion or a proof, in characters.
MAX_JTI_LENGTH = 256


async def use_once(purpose: str, subject: str, jti: str, expires_at: datetime) -> bool:
    """Use a signed value. Call it last, when everything else about the value has been verified.

    The rollback of a transaction forgets the use. Call it in one only if nothing remains of that either, so that the
    value may be sent again.

    Args:
        purpose: the kind of value, such as ``dpop``. Values of different kinds do not collide.
        subject: within which ``jti`` is unique: the client, the issuer or the key.
        expires_at: when the value is refused by its age, leeway included. It must be the same for each use of the
            same value, and at most :data:`repository.MAX_LIFETIME` seconds ahead.

    Returns:
        False if the value was used before, or if it has expired by the clock of the database.
    """
    # Each part with its length, so that no two triples have the same bytes. A lone surrogate is possible in JSON.
    parts = [part.encode("utf-8", "surrogatepass") for part in (purpose, subject, jti)]
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()
    return await repository.use(UUID(bytes=digest[:16]), expires_at)

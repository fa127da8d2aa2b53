"""Uploaded pictures of users. The claim ``picture`` is their URL.

Applications read it without a sign-in, so the URL cannot be guessed. It is the encrypted id of the user and the
beginning of the picture's digest: it does not reveal the id, and ends with the picture
(docs/decisions/0107-picture-urls.md).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

from idp.accounts.repository import pictures, users
from idp.accounts.repository.pictures import StoredPicture
from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.infra.pictures import media_type
from idp.keys import vault
from idp.settings import settings

PATH = "/pictures"
_CONTEXT = "user_picture.url"
_ID_LENGTH, _DIGEST_LENGTH = 16, 16
#: Longest token of a URL.
MAX_TOKEN_LENGTH = 200


async def save(user_id: UUID, content: bytes) -> None:
    """Store the picture of a user, and set the claim to its URL.

    Raises:
        InvalidPictureError: the picture is not accepted.
    """
    kind = media_type(content)
    async with transaction():
        if await users.set_picture(user_id, f"{settings().issuer}{PATH}/{_token(user_id, content)}"):
            await pictures.save_picture(user_id, kind, content)
            await record("profile_changed", user_id=user_id)


async def remove(user_id: UUID) -> bool:
    """Delete the uploaded picture of a user, and clear the claim. Returns whether there was one."""
    async with transaction():
        if not await pictures.delete_picture(user_id):
            return False
        await users.set_picture(user_id, None)
        await record("profile_changed", user_id=user_id)
    return True


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()[:_DIGEST_LENGTH]


def _token(user_id: UUID, content: bytes) -> str:
    sealed = vault.encrypt(user_id.bytes + _digest(content), _CONTEXT)
    return urlsafe_b64encode(sealed).decode().rstrip("=")


async def find(token: str) -> StoredPicture | None:
    """Return the picture of a URL, or None if the URL is wrong, or the user has another picture now or is
    disabled.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    with suppress(ValueError, vault.SecretsError):
        plain = vault.decrypt(urlsafe_b64decode(token + "=" * (-len(token) % 4)), _CONTEXT)
        found = await pictures.find_served_picture(UUID(bytes=plain[:_ID_LENGTH]))
        return found if found is not None and compare_digest(_digest(found.content), plain[_ID_LENGTH:]) else None
    return None


async def of_user(user_id: UUID) -> StoredPicture | None:
    """Return the uploaded picture of a user, if there is one."""
    return await pictures.find_picture(user_id)

"""Client secrets that are kept encrypted, for clients that sign with their secret (OpenID Connect Core section 10.1).

Of any other secret only the hash is stored.
"""

from functools import lru_cache

from idp.keys import vault
from idp.oauth.clients.models import Client


def seal(client_id: str, secret: str) -> bytes:
    """Encrypt a secret for the column ``client_secret_encrypted``."""
    return vault.encrypt(secret.encode(), _context(client_id))


def shared_secret(client: Client) -> str | None:
    """Return the secret that a client signs with; None if it has none.

    Raises:
        vault.SecretsError: it belongs to another database, or is damaged.
    """
    sealed = client.client_secret_encrypted
    return _open(client.client_id, sealed) if sealed is not None else None


@lru_cache(maxsize=1024)
def _open(client_id: str, sealed: bytes) -> str:
    return vault.decrypt(sealed, _context(client_id)).decode()


def _context(client_id: str) -> str:
    return f"client.client_secret_encrypted:{client_id}"

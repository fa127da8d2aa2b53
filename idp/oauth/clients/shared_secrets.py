"""Client secrets that are kept encrypted, for clients that sign with their secret (OpenID Connect Core section 10.1).

Of any other secret only the hash is stored.
"""

from functools import lru_cache

from idp.keys import vault
from idp.oauth.clients.models import Client


def seal(client_id: str, secret: str) -> bytes:
    """Encrypt a secret for the column ``client_secret_encrypted``, and later ``previous_secret_encrypted``."""
    return vault.encrypt(secret.encode(), _context(client_id))


def shared_secrets(client: Client) -> list[str]:
    """Return the secrets that a client may sign with; two during a change, none if it does not sign.

    Raises:
        vault.SecretsError: one belongs to another database, or is damaged.
    """
    return [_open(client.client_id, secret.encrypted) for secret in client.secrets if secret.live and secret.encrypted]


@lru_cache(maxsize=1024)
def _open(client_id: str, sealed: bytes) -> str:
    return vault.decrypt(sealed, _context(client_id)).decode()


def _context(client_id: str) -> str:
    return f"client.client_secret_encrypted:{client_id}"

"""The requesting browser as plain values: its tokens, and the key that binds sign-in flows to it.

A sign-in flow or a pending authorization request is named in the URL by its id. One cookie of the browser, its *key*,
binds all of them: the secret of each is derived from the key's secret and the id, and only the hash of the derived
secret is stored. The form token of a page is derived from that secret, so a page of another site cannot make one.

The name of the cookie ends in a tag, and every id begins with the tag of its key. Concurrent first requests of a fresh
browser get one cookie each, which do not overwrite each other; later requests use the newest one
(docs/decisions/0035-one-cookie-binds-all-flows.md).
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from idp import clock
from idp.ids import digest, random_token
from idp.signin import session_tokens
from idp.signin.session_tokens import SessionToken

#: Maximum number of keys of a browser, which come from concurrent first requests. The oldest are deleted first.
MAX_KEYS = 12
#: Length of a tag: the time in seconds as eight hexadecimal digits, so that tags sort by time, and eight random ones.
TAG_LENGTH = 16
_TAG = re.compile(rf"[0-9a-f]{{{TAG_LENGTH}}}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
#: Seconds by which a tag may be in the future: a key that was just renewed, or a server with another clock.
_MAX_SKEW = 60


class BrowserKey(NamedTuple):
    """The secret that a browser keeps, with its tag.

    Attributes:
        surplus: tags of additional keys that the browser sent, whose cookies are to be deleted.
    """

    tag: str
    secret: str
    surplus: tuple[str, ...] = ()

    @classmethod
    def new(cls) -> "BrowserKey":
        return cls(_new_tag(clock.timestamp()), random_token())

    def bind(self) -> "BrowserBinding":
        """Return a binding with a new id."""
        return BrowserBinding.derive(f"{self.tag}{random_token()}", self.secret)


def _new_tag(timestamp: int) -> str:
    return f"{timestamp:08x}{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class BrowserBinding:
    """The id in the URL, and the secret that proves the browser."""

    id: str
    secret: str

    @classmethod
    def derive(cls, id: str, secret: str) -> "BrowserBinding":
        """Return the binding of ``id`` under the secret of a key."""
        derived = hmac.digest(secret.encode(), id.encode(), "sha256")
        return cls(id, urlsafe_b64encode(derived).rstrip(b"=").decode())

    @property
    def hash(self) -> bytes:
        return digest(self.secret)


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser as its request describes it, or a first-party app.

    Attributes:
        session_token, device_token: values of those cookies.
        keys: secrets of the keys that it sent, by tag.
        user_agent: printable ASCII.
        keeps_cookies: False for an app, which gets no cookies and is never a known device.
    """

    session_token: str | None = None
    device_token: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = ""
    keeps_cookies: bool = True

    @property
    def session(self) -> SessionToken | None:
        return session_tokens.parse(self.session_token)

    @property
    def device_hash(self) -> bytes | None:
        return digest(self.device_token) if self.device_token else None

    def binding(self, id: str) -> BrowserBinding | None:
        """Return the binding of ``id`` if the browser has the key that its tag names."""
        secret = self.keys.get(id[:TAG_LENGTH])
        return BrowserBinding.derive(id, secret) if secret else None

    def key(self) -> BrowserKey:
        """Return the newest key that the browser sent, or a new one."""
        # A tag in the future would remain the newest one, whatever is set later.
        latest = f"{clock.timestamp() + _MAX_SKEW:08x}"
        valid = sorted(
            tag
            for tag, secret in self.keys.items()
            if _TAG.fullmatch(tag) and tag[:8] <= latest and _SECRET.fullmatch(secret)
        )
        surplus = tuple(self.keys.keys() - set(valid[-MAX_KEYS:]))
        if not valid:
            return BrowserKey.new()._replace(surplus=surplus)
        return BrowserKey(valid[-1], self.keys[valid[-1]], surplus)

    def renewed_key(self) -> BrowserKey:
        """Return a new key, newer than every one that the browser sent. Existing bindings stay valid."""
        before = self.key()
        timestamp = max(clock.timestamp(), int(before.tag[:8], 16) + 1)
        return BrowserKey(_new_tag(timestamp), random_token(), before.surplus)

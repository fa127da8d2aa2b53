"""BrowserBinding what a URL names to the browser that started it, and its forms to our own pages.

A sign-in flow or a waiting authorization request is named in the URL by its id. One cookie of the browser binds all of
them: the secret of each is derived from the cookie's secret and its id, and only the hash of that is stored. The form
token of its pages is derived from its secret: a page of another site cannot make one.

The name of the cookie ends in a tag, with which every id begins. Several first requests of a fresh browser at once get
a cookie each, which do not overwrite each other; every later request uses the newest one
(docs/decisions/0035-one-cookie-binds-all-flows.md).
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from litestar import Request
from litestar.datastructures import Cookie

from idp import clock
from idp.http import cookies
from idp.ids import digest, random_token
from idp.settings import settings

#: As many cookies may be left of first requests that a fresh browser sent at once. The oldest go first.
MAX_KEYS = 12

_PREFIX = "flow."
#: Seconds in eight hexadecimal digits, so that tags are in the order of their time, and eight random ones.
TAG_LENGTH = 16
_TAG = re.compile(rf"[0-9a-f]{{{TAG_LENGTH}}}")
#: Seconds by which a tag may be ahead: that of a key that was renewed at once, or by a server with another clock.
_AHEAD = 60
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class BrowserKey(NamedTuple):
    """The secret that a browser keeps, with its tag.

    Attributes:
        surplus: names of further cookies that the browser sent, to be deleted.
    """

    tag: str
    secret: str
    surplus: tuple[str, ...] = ()

    @classmethod
    def new(cls) -> "BrowserKey":
        return cls(f"{clock.timestamp():08x}{secrets.token_hex(4)}", random_token())

    @classmethod
    def renewed(cls, request: Request[Any, Any, Any]) -> "BrowserKey":
        """A new key that is newer than every one that the browser sent. What those bind goes on."""
        before = cls.of(request)
        tag = f"{max(clock.timestamp(), int(before.tag[:8], 16) + 1):08x}{secrets.token_hex(4)}"
        return cls(tag, random_token(), before.surplus)

    @classmethod
    def of(cls, request: Request[Any, Any, Any]) -> "BrowserKey":
        """The newest key that the browser sent, or a new one."""
        sent = cookies.read_all(request, _PREFIX)
        # A key of the future would stay the newest one, whatever is set later.
        latest = f"{clock.timestamp() + _AHEAD:08x}"
        good = sorted(
            tag
            for tag, secret in sent.items()
            if _TAG.fullmatch(tag) and tag[:8] <= latest and _SECRET.fullmatch(secret)
        )
        surplus = tuple(sent.keys() - set(good[-MAX_KEYS:]))
        if not good:
            return cls.new()._replace(surplus=surplus)
        return cls(good[-1], sent[good[-1]], surplus)

    def bind(self) -> "BrowserBinding":
        """A binding with an id of its own."""
        return BrowserBinding.derive(f"{self.tag}{random_token()}", self.secret)

    def cookies(self) -> list[Cookie]:
        """What to set, so that the browser keeps the key as long as whatever begins now."""
        kept = cookies.make(f"{_PREFIX}{self.tag}", self.secret, max_age=settings().flow_lifetime)
        return [kept, *(cookies.delete(f"{_PREFIX}{tag}") for tag in self.surplus)]


@dataclass(frozen=True, slots=True)
class BrowserBinding:
    """One binding: the id that the URL names and the secret that proves the browser."""

    id: str
    secret: str

    @classmethod
    def derive(cls, id: str, secret: str) -> "BrowserBinding":
        """The binding of ``id`` by the secret of a cookie."""
        derived = hmac.digest(secret.encode(), id.encode(), "sha256")
        return cls(id, urlsafe_b64encode(derived).rstrip(b"=").decode())

    @classmethod
    def read(cls, request: Request[Any, Any, Any], id: str) -> "BrowserBinding | None":
        """The binding of ``id``, if this browser holds the key that its tag names."""
        # The tag from a URL is looked up among the cookies; it never becomes part of a new one.
        secret = cookies.read(request, f"{_PREFIX}{id[:TAG_LENGTH]}")
        return cls.derive(id, secret) if secret else None

    @property
    def hash(self) -> bytes:
        return digest(self.secret)


def sends_keys(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser sent any key: one that keeps no cookies never does."""
    return bool(cookies.read_all(request, _PREFIX))


def csrf_token(key: bytes, secret: str, purpose: str) -> str:
    """The token that a form carries: proof that our own page, shown to this browser for this purpose, sent it."""
    return hmac.new(key, f"{purpose}\0{secret}".encode(), sha256).hexdigest()

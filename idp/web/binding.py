"""Binding what a URL names to the browser that started it, and its forms to our own pages.

A sign-in flow or a waiting authorization request is named in the URL by its id. Each has a cookie of its own, so tabs
do not disturb each other; only the cookie's hash is stored. The form token of its pages is derived from the cookie:
whoever lacks the cookie cannot make one.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from idp.ids import digest, random_token
from idp.web import cookies


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding: the id that the URL names and the secret that the browser keeps."""

    id: str
    secret: str

    @classmethod
    def new(cls) -> "Binding":
        return cls(random_token(), random_token())

    @classmethod
    def read(cls, request: Request[Any, Any, Any], id: str) -> "Binding | None":
        """The binding of ``id`` that this browser holds, if it holds one."""
        # An id from a URL is looked up among the cookies; it never becomes part of a new one.
        secret = cookies.read(request, f"flow.{id}")
        return cls(id, secret) if secret else None

    @property
    def hash(self) -> bytes:
        return digest(self.secret)

    def cookie(self, max_age: int) -> Cookie:
        return cookies.make(f"flow.{self.id}", self.secret, max_age=max_age)

    def delete_cookie(self) -> Cookie:
        return cookies.delete(f"flow.{self.id}")


def csrf_token(key: bytes, secret: str, purpose: str) -> str:
    """The token that a form carries: proof that our own page, shown to this browser for this purpose, sent it."""
    return hmac.new(key, f"{purpose}\0{secret}".encode(), sha256).hexdigest()

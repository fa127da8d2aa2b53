"""Secrets by reference: an environment variable or a file of the process that applies the configuration."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from idp.config.errors import UnknownNameError
from idp.config.kinds.base import Reference
from idp.errors import ValidationError

#: Greatest size of a file with a secret, in bytes. A private key has less.
MAX_BYTES: Final = 64 * 1024
#: How the variables of our own settings begin, which no file may send anywhere.
_SETTINGS: Final = "IDP_"
_SYSTEM: Final = {("/", "proc"), ("/", "dev"), ("/", "sys")}


#: Values of variables that are not in the environment.
_given: ContextVar[Mapping[str, str]] = ContextVar("given", default={})  # noqa: B039 -- it is never changed


@contextmanager
def given(variables: Mapping[str, str]) -> Iterator[None]:
    """Let references also name these variables."""
    token = _given.set(variables)
    try:
        yield
    finally:
        _given.reset(token)


class InvalidReferenceError(ValidationError):
    """A reference names neither or both, or what it names cannot be used."""


def check(reference: Reference) -> None:
    """
    Raises:
        InvalidReferenceError: it does not name one place.
    """
    if bool(reference.env) == bool(reference.file):
        raise InvalidReferenceError("A secret is named by env or by file, such as {env: NAME}.")


def resolve(reference: Reference) -> str:
    """Return the secret, without the newline at its end.

    Raises:
        InvalidReferenceError: it does not name one place, or there is no text.
        UnknownNameError: there is no such variable or file.
    """
    check(reference)
    if reference.env:
        if reference.env.upper().startswith(_SETTINGS):
            raise InvalidReferenceError(f"{reference.env} is a setting of idp, and no secret of an object.")
        value = os.environ.get(reference.env, _given.get().get(reference.env))
        if value is None:
            raise UnknownNameError(f"The environment variable {reference.env} is not set.")
    else:
        value = _content(Path(str(reference.file)))
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise InvalidReferenceError("The secret is empty.")
    return value


def _content(path: Path) -> str:
    # Of this process, /proc has the settings, with the master key. A pipe would be waited for, and may be read once.
    if path.resolve().parts[:2] in _SYSTEM:
        raise InvalidReferenceError(f"The file {path} is one of the system.")
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidReferenceError(f"{path} is no file.")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnknownNameError(f"The file {path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise InvalidReferenceError(f"The file {path} is larger than {MAX_BYTES // 1024} KiB.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidReferenceError(f"The file {path} is no text.") from error

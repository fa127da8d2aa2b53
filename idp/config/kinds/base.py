"""A kind of objects of the configuration, and how an entry of a file is written."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import NODEFAULT

#: The values of the key of an object, in the form in which they are compared.
Identity = tuple[str | None, ...]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: an environment variable, or a file, of the process that applies the configuration."""

    env: str | None = None
    file: str | None = None


class RoleName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role: of a client, or of the whole server. Inside of an organization: one of the organization."""

    name: str
    client_id: str | None = None


class Kind(ABC):
    """A kind of objects. Every subclass has one instance, in :data:`idp.config.kinds.KINDS`.

    Services do the work: an object gets the same checks, audit events and cache invalidations as by API and console.

    Attributes:
        section: its name in files.
        model: the type of an entry. An entry says all of an object: what it does not name has its default.
        key: the fields that name an object.
        secret: the field with the reference to its secret, of a :class:`KindWithSecret`.
        topics: the topics of cache invalidation of its changes, which are locked first.
    """

    section: ClassVar[str]
    model: ClassVar[Any]
    key: ClassVar[tuple[str, ...]]
    secret: ClassVar[str | None] = None
    topics: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    async def read(self) -> list[Any]:
        """Return the objects as entries."""

    @abstractmethod
    async def create(self, entry: Any, secret: str | None) -> None:
        """Create an object."""

    @abstractmethod
    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        """Change an object.

        Args:
            changed: the fields that differ, without the secret.
        """

    @abstractmethod
    async def delete(self, entry: Any) -> None:
        """Delete an object."""

    async def lock_rows(self) -> None:  # noqa: B027 -- topics are enough for most
        """Lock the objects against other changes, if no topic does."""

    def identity(self, entry: Any) -> Identity:
        """Return the key of an object in the form in which it is compared."""
        return tuple(getattr(entry, name) for name in self.key)

    def label(self, entry: Any) -> str:
        """Return the key of an object for people."""
        first, *others = (str(value) for name in self.key if (value := getattr(entry, name)) is not None)
        return f"{first} ({', '.join(others)})" if others else first

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        """Return an entry in the form in which the server stores it.

        Args:
            named: the fields that the file names.

        Raises:
            DomainError, OAuthError: a value is not valid.
        """
        return entry

    def check(self, entry: Any) -> None:  # noqa: B027 -- most are checked as a part of their normal form
        """Check what depends on settings too. An object that does not change may break it: it was valid once.

        Raises:
            OAuthError: the server would refuse the object now.
        """

    def defaults(self, entry: Any) -> Mapping[str, Any]:
        """Return the values of fields that a file need not name."""
        return defaults_of(type(entry))

    def above(self, entry: Any) -> Iterable[Identity]:
        """Return objects of the same kind that must exist before this one."""
        return ()

    def claims(self, entry: Any) -> Iterable[str]:
        """Return what only one object of the kind can have, besides its key."""
        return ()

    async def losses(self, entry: Any) -> str:
        """Return what else ends if an object is deleted, as a sentence."""
        return ""


class KindWithSecret(Kind):
    """A kind of objects that have a secret, each or some of them."""

    secret: ClassVar[str]

    def check_secret(self, entry: Any, secret: str) -> None:
        """Check the form of a secret that an object would get.

        Raises:
            IdpError: it cannot be used.
        """

    @abstractmethod
    async def has_secret(self, entry: Any, secret: str) -> bool:
        """Return whether an object has this secret."""

    @abstractmethod
    async def set_secret(self, entry: Any, secret: str) -> None:
        """Set the secret of an object."""

    def needs_secret(self, entry: Any) -> bool:
        """Return whether an object cannot be without a secret."""
        return True

    def accepts_secret(self, entry: Any) -> bool:
        """Return whether an object can have a secret."""
        return True


def defaults_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the defaults of the fields of a struct by name, without those that are required."""
    found = {}
    for field in msgspec.structs.fields(struct):
        if field.default is not NODEFAULT:
            found[field.name] = field.default
        elif field.default_factory is not NODEFAULT:
            found[field.name] = field.default_factory()
    return found


def written(kind: Kind, entry: Any) -> dict[str, Any]:
    """Return an entry as a file has it: its key first, and no defaults."""
    defaults = kind.defaults(entry)
    names = [*kind.key, *(name for name in entry.__struct_fields__ if name not in kind.key)]
    values = {name: getattr(entry, name) for name in names}
    return {
        name: plain(value)
        for name, value in values.items()
        if name not in defaults or value != defaults[name] or type(value) is not type(defaults[name])
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it; structs without their defaults."""
    if isinstance(value, msgspec.Struct):
        config, defaults = value.__struct_config__, defaults_of(type(value))
        tag = {config.tag_field: config.tag} if config.tag_field is not None else {}
        values = {name: getattr(value, name) for name in value.__struct_fields__}
        return tag | {
            name: plain(each) for name, each in values.items() if name not in defaults or each != defaults[name]
        }
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return msgspec.to_builtins(value)


def without(struct: type[msgspec.Struct], title: str, /, *left_out: str, **replaced: Any) -> Any:
    """Return a struct with the fields of another one, so that a field is declared once.

    Args:
        left_out: fields that files do not have.
        replaced: by field, its other type and its default, or its type alone if it is required.
    """
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        if field.name in left_out or field.name in replaced:
            continue
        if field.default is not NODEFAULT:
            fields.append((field.name, field.type, field.default))
        elif field.default_factory is not NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, field.type))
    fields += [(each, *value) if isinstance(value, tuple) else (each, value) for each, value in replaced.items()]
    made = msgspec.defstruct(title, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, module=__name__)
    made.__doc__ = struct.__doc__
    return made

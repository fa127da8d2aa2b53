"""Reading the files of a tenant."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from idp.accounts.import_files import MAX_LINE_LENGTH, MalformedRecordError
from idp.config import syntax
from idp.config.errors import ConfigError
from idp.migration.auth0 import tenant, users
from idp.migration.auth0.representations import Client, Hash, Membership, Tenant, User
from idp.migration.models import Export, ExportError, Person
from idp.migration.reading import content, decoded

_ADVICE = "Leave out what is not needed."


class Files(NamedTuple):
    """The files of a tenant, each optional.

    Attributes:
        users: those of an export job of the Management API, one JSON object a line; also compressed with gzip.
        hashes: password hashes, one JSON object a line, from Auth0's support.
        memberships: a role or an organization of a user, one JSON object a line.
        tenant: the file of the Deploy CLI, YAML or JSON.
        clients: the list of clients of the Management API, with their secrets.
    """

    users: Path | None = None
    hashes: Path | None = None
    memberships: Path | None = None
    tenant: Path | None = None
    clients: Path | None = None


def read(files: Files, attributes: Mapping[str, str]) -> Export:
    """Translate the files of a tenant.

    Args:
        attributes: the names of attributes by the paths of metadata, as in :class:`users.Known`.

    Raises:
        ExportError: a file cannot be read.
    """
    export = Export()
    for name in sorted(set(attributes.values())):
        several, plain = name.endswith(users.SEVERAL), name.removesuffix(users.SEVERAL)
        entry = {"name": plain, "type": "string", "multivalued": several, "label": {"default": plain}}
        export.add("attributes", entry)
    read = _tenant(files.tenant) if files.tenant is not None else Tenant()
    if files.clients is not None:
        clients = decoded(content(files.clients, _ADVICE), list[Client], files.clients.name)
        read = msgspec.structs.replace(read, clients=clients)
    tenant.translate(export, read)
    if files.users is not None:
        source = files.users
        known = users.Known(_hashes(files.hashes), *_memberships(files.memberships), attributes)
        export.people = lambda: _people(source, known, export)
    return export


def _tenant(path: Path) -> Tenant:
    try:
        value = syntax.read(content(path, _ADVICE), path.name).plain()
    except ConfigError as error:
        raise ExportError(error.description) from error
    return decoded(msgspec.json.encode(value), Tenant, path.name)


def _hashes(path: Path | None) -> dict[str, str]:
    """Return the hashes by ``user_id``, about 250 bytes of memory for each."""
    found = {}
    for _place, line in _lines(path) if path is not None else ():
        one = decoded(line, Hash, _place)
        if one.password_hash:
            found[f"auth0|{one.alt_id or one.id.oid}"] = one.password_hash
    return found


def _memberships(path: Path | None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the roles and the organizations of users."""
    roles: dict[str, list[str]] = {}
    organizations: dict[str, list[str]] = {}
    for place, line in _lines(path) if path is not None else ():
        one = decoded(line, Membership, place)
        if one.role:
            roles.setdefault(one.user_id, []).append(one.role)
        if one.organization:
            organizations.setdefault(one.user_id, []).append(one.organization)
    return roles, organizations


def _people(path: Path, known: users.Known, export: Export) -> Iterator[Person]:
    """Read the users. One that cannot be read is a person with an error."""
    export.lost.clear()
    for place, line in _lines(path):
        try:
            yield users.translate(decoded(line, User, place), place, known, export.lost)
        except ExportError as error:
            yield Person(place, MalformedRecordError(error.description))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Return the lines of a file, each with its place. Empty ones are skipped.

    Raises:
        ExportError: the file cannot be read, or a line is too long.
    """
    try:
        with _opened(path) as file:
            number = 0
            while line := file.readline(MAX_LINE_LENGTH + 1):
                number += 1
                place = f"{path.name}: line {number}"
                if len(line) > MAX_LINE_LENGTH:
                    raise ExportError(f"{place} is longer than {MAX_LINE_LENGTH // 1024} KiB.")
                if line.strip():
                    yield place, line
    except (OSError, EOFError) as error:
        raise ExportError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")

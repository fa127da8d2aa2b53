"""Reading the export of a realm: one file, or the folder that ``kc.sh export --dir`` wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from idp.accounts.import_files import MalformedRecordError
from idp.migration.keycloak import attributes, clients, directory, mappers, providers, settings, users
from idp.migration.keycloak.representations import Realm, User
from idp.migration.models import Export, ExportError, Person
from idp.migration.reading import content, decoded, each, members

_PARTS: Final = "Export with: kc.sh export --dir DIR --users different_files --users-per-file 5000"
_REALM: Final = "-realm.json"


def read(path: Path, realm: str | None = None) -> Export:
    """Translate an export.

    Args:
        path: a file with a realm, or a folder with ``NAME-realm.json`` and ``NAME-users-0.json`` and so on.
        realm: the one to take from a folder with several.

    Raises:
        ExportError: it cannot be read.
    """
    file = _realm_file(path, realm) if path.is_dir() else path
    top = members(content(file, _PARTS), file.name)
    if "realm" not in top:
        raise ExportError(f"{file.name}: there is no member realm. It is not the export of a realm.")
    read = Realm.__struct_encode_fields__
    whole = decoded(msgspec.json.encode({name: top[name] for name in read if name in top}), Realm, file.name)
    export = Export()
    owners = clients.translate(export, whole)
    declared = attributes.translate(export, whole, mappers.all_mappers(whole))
    found = directory.translate(export, whole, owners)
    known = users.Known(declared, providers.translate(export, whole), found)
    mappers.translate(export, whole, declared, {role.client_id for role in found.roles if role.client_id} & owners)
    plain = {name: decoded(one, object, file.name, name) for name, one in top.items() if name not in {*read, "users"}}
    settings.suggest(export, plain)
    others = _user_files(path, whole.realm) if path.is_dir() else []
    export.people = lambda: _people(file, others, known, export)
    return export


def _realm_file(folder: Path, realm: str | None) -> Path:
    found = sorted(folder.glob(f"*{_REALM}"))
    named = [file for file in found if realm is None or file.name == f"{realm}{_REALM}"]
    if len(named) == 1:
        return named[0]
    if not named:
        raise ExportError(f"{folder} has no file {realm or 'NAME'}{_REALM}.")
    realms = ", ".join(file.name.removesuffix(_REALM) for file in named)
    raise ExportError(f"{folder} has several realms: {realms}. Choose one with --realm.")


def _user_files(folder: Path, realm: str) -> list[Path]:
    """Return the files with users in the order of their numbers."""
    found = folder.glob(f"{realm}-users-*.json")
    return sorted(found, key=lambda file: (len(file.name), file.name))


def _people(file: Path, others: list[Path], known: users.Known, export: Export) -> Iterator[Person]:
    """Read one file after the other. A user that cannot be read is a person with an error."""
    export.lost.clear()
    for part in (file, *others):
        top = members(content(part, _PARTS), part.name)
        for at, raw in each(top["users"], part.name, "users") if "users" in top else ():
            place = f"{part.name}: {at}"
            try:
                user = decoded(raw, User, part.name, at)
            except ExportError as error:
                yield Person(place, MalformedRecordError(error.description))
                continue
            person = users.translate(user, place, known, export.lost)
            if person is not None:
                yield person

"""Reading files: from YAML to entries, each checked on its own and remembered with its place."""

import difflib
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import msgspec

from idp.config import syntax
from idp.config.errors import ConfigError, Place, Problem
from idp.config.kinds import BY_SECTION, KINDS
from idp.config.kinds.base import Identity, Kind
from idp.config.syntax import Node
from idp.errors import IdpError

#: The version of the format.
VERSION: Final = 1
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
#: Before the path in an error of msgspec.
_AT: Final = " - at `"
#: How sentences begin that name a value of a file.
_MISSING: Final = ("There is no ", "The environment variable ", "The file ")
#: Problems after which no more are looked for, and length of a text that is looked for in their sentences.
_MAX_PROBLEMS: Final = 50
_MAX_TEXT: Final = 200
_WORD: Final = re.compile(r"[a-z_]{3,}")
_SUFFIXES: Final = (".yaml", ".yml")


class Item(msgspec.Struct, frozen=True):
    """An entry of a file, in the form in which the server stores it."""

    kind: Kind
    entry: Any
    node: Node

    @property
    def identity(self) -> Identity:
        return self.kind.identity(self.entry)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Give errors of a block the place of the entry, or of the field that they name.

        Raises:
            ConfigError: the block raised an error of our own.
        """
        try:
            yield
        except ConfigError:
            raise
        except IdpError as error:
            raise ConfigError([Problem(self.place_of(error.description), error.description)]) from error

    def place_of(self, text: str) -> Place:
        """Return the place of the value, or else of the first field, that a sentence names, or of the entry."""
        value = next((node.place for node in _texts(self.node) if re.search(_whole(node.value), text)), None)
        field = next((self.node.keys[word] for word in _WORD.findall(text) if word in self.node.keys), None)
        return (value if text.startswith(_MISSING) else None) or field or value or self.node.place


def _texts(node: Node) -> Iterator[Node]:
    """Return the texts of a part of a file."""
    if isinstance(node.value, str):
        yield node
    elif isinstance(node.value, dict | list):
        for each in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from _texts(each)


def _whole(text: str) -> str:
    """Return a pattern of a text that is no part of a longer word."""
    return rf"(?<![\w-]){re.escape(text)}(?![\w-])" if 1 < len(text) <= _MAX_TEXT else r"(?!)"


class Document(msgspec.Struct, frozen=True):
    """The entries of all files, by section. A section that no file has is not a key."""

    items: Mapping[str, list[Item]]


def load(paths: Iterable[str]) -> Document:
    """Read files, and the files of folders. ``-`` is the standard input.

    Raises:
        ConfigError: with every problem that was found.
    """
    return parse(contents(paths))


def contents(paths: Iterable[str]) -> dict[str, bytes]:
    """Return the content of files by name. Of a folder: its files ``*.yaml`` and ``*.yml``, also in folders below.

    Raises:
        ConfigError: one cannot be read, or there is none.
    """
    found: dict[str, bytes] = {}
    problems = []
    for name in paths:
        path = Path(name)
        files = sorted(file for file in path.rglob("*") if _is_meant(path, file)) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(Place(name), "The folder has no files *.yaml."))
        for file in files:
            try:
                with nullcontext(sys.stdin.buffer) if name == "-" else file.open("rb") as stream:
                    found[str(file)] = stream.read(syntax.MAX_BYTES + 1)
            except OSError as error:
                problems.append(Problem(Place(str(file)), f"The file cannot be read: {error.strerror}."))
    if problems:
        raise ConfigError(problems)
    return found


def _is_meant(folder: Path, file: Path) -> bool:
    # The files of a mounted ConfigMap are links into a hidden folder.
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix in _SUFFIXES and file.is_file() and not hidden


def parse(files: Mapping[str, bytes]) -> Document:
    """Read documents by the names of their files.

    Raises:
        ConfigError: with every problem that was found.
    """
    problems: list[Problem] = []
    items: dict[str, list[Item]] = {}
    for file, content in files.items():
        try:
            root = syntax.read(content, file)
            for section, node in _sections(root):
                items.setdefault(section, []).extend(_items(BY_SECTION[section], node, problems))
        except ConfigError as error:
            problems += error.problems
    for found in items.values():
        problems += _repeated(found)
    if problems:
        raise ConfigError(problems)
    return Document({kind.section: items[kind.section] for kind in KINDS if kind.section in items})


def _sections(root: Node) -> Iterator[tuple[str, Node]]:
    if not isinstance(root.value, dict):
        raise ConfigError([Problem(root.place, "The file must be a mapping, beginning with version: 1.")])
    version = root.value.get("version")
    if version is None or version.value != VERSION:
        raise ConfigError([Problem((version or root).place, f"The file must have version: {VERSION}.")])
    unknown = [name for name in root.value if name not in BY_SECTION and name != "version"]
    if unknown:
        raise ConfigError(
            [
                Problem(root.keys[name], f"There is no section {name}.{nearest(name, BY_SECTION)}")
                for name in unknown[:_MAX_PROBLEMS]
            ]
        )
    for name, node in root.value.items():
        if name != "version":
            yield name, node


def _items(kind: Kind, node: Node, problems: list[Problem]) -> Iterator[Item]:
    if node.value is None:
        node = Node(node.place, [])
    if not isinstance(node.value, list):
        problems.append(Problem(node.place, f"{kind.section} must be a list."))
        return
    for each in node.value:
        if len(problems) >= _MAX_PROBLEMS:
            return
        try:
            yield _item(kind, each)
        except ConfigError as error:
            problems += error.problems


def _item(kind: Kind, node: Node) -> Item:
    """
    Raises:
        ConfigError: the entry has another type, or a value that is not valid.
    """
    if not isinstance(node.value, dict):
        raise ConfigError([Problem(node.place, f"An entry of {kind.section} must be a mapping.")])
    try:
        entry = msgspec.convert(node.plain(), kind.model)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise ConfigError([_problem(str(error), node, kind.model)]) from error
    item = Item(kind, entry, node)
    with item.located():
        return msgspec.structs.replace(item, entry=kind.normal(entry, node.value.keys()))


def _problem(text: str, node: Node, model: Any) -> Problem:
    """Return an error of msgspec with its place, and for an unknown field the most similar one."""
    # The text may quote a value, which may have anything: the path is what comes last.
    words, _, end = text.rpartition(_AT) if text.endswith("`") and _AT in text else (text, "", "$")
    path = end.rstrip("`").removeprefix("key in ")
    part = node.at(path)
    if (unknown := _UNKNOWN.match(words)) is not None:
        name = unknown[1]
        place = part.keys.get(name, part.place)
        return Problem(place, f"There is no field {name}.{nearest(name, _fields(model, path))}")
    return Problem(part.place, f"{words.replace('`', '')}.")


def _fields(model: Any, path: str) -> Collection[str]:
    """Return the names of the fields of the struct at a path of a type."""
    kind = msgspec.inspect.type_info(model)
    for name in re.findall(r"\.(\w+)", path):
        field = next((one for one in getattr(kind, "fields", ()) if one.encode_name == name), None)
        if field is None:
            return ()
        kind = _inner(field.type)
    return [one.encode_name for one in getattr(kind, "fields", ())]


def _inner(kind: Any) -> Any:
    """Return the type of the members of a list, or of what may also be null."""
    while True:
        if isinstance(kind, msgspec.inspect.UnionType):
            kind = next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
        elif hasattr(kind, "item_type"):
            kind = kind.item_type
        elif hasattr(kind, "value_type"):
            kind = kind.value_type
        else:
            return kind


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the most similar name, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Is {found[0]} meant?" if found else ""


def _repeated(items: Iterable[Item]) -> Iterator[Problem]:
    """Return a problem for each key, and each value that only one object can have, that is there twice."""
    first: dict[object, Item] = {}
    for item in items:
        kind, label = item.kind, item.kind.label(item.entry)
        if (other := first.setdefault(item.identity, item)) is not item:
            yield Problem(item.node.place, f"{label} of {kind.section} is here twice. The first is at {_at(other)}.")
        for value in kind.claims(item.entry):
            if (other := first.setdefault(value, item)) is not item:
                yield Problem(item.node.place, f"{value} is also at {_at(other)}.")


def _at(item: Item) -> str:
    return f"{item.node.place.file}:{item.node.place.line}"

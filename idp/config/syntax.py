"""YAML, read with the place of every part, and written. The only module that imports the library.

Files come from people and pipelines. A document has limits of size and depth, and neither anchors nor tags: an alias
can stand for a thousand others, and a tag can name a type of the program. Plain scalars follow the core schema of YAML
1.2: ``no`` and ``10:30`` are text.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml

from idp.config.errors import ConfigError, Place, Problem

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_DEPTH: Final = 32

#: Plain scalars of the core schema (YAML 1.2.2 section 10.3.2), except numbers that JSON does not have.
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
#: One step of a path in an error of msgspec.
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
# The library of C is a hundred times as fast. Both read the same.
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node(msgspec.Struct):
    """A part of a document.

    Attributes:
        value: a scalar, a list of nodes, or a dictionary of nodes.
        keys: the places of the keys of a dictionary.
    """

    place: Place
    value: Any
    keys: dict[str, Place] = {}

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value

    def at(self, path: str) -> "Node":
        """Return the part at a path such as ``$.rules[0].claim``, or the last one on the way that exists."""
        node = self
        for name, number in _STEP.findall(path):
            try:
                node = node.value[name] if name else node.value[int(number)]
            except (KeyError, IndexError, TypeError):
                break
        return node


def read(content: bytes, file: str) -> Node:
    """Parse one document.

    Raises:
        ConfigError: it is too large or too deep, no valid YAML, or has what is not accepted.
    """
    if len(content) > MAX_BYTES:
        raise _error(Place(file), f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(Place(file, line), "The file is not UTF-8.") from error
    if (position := text.find("\0")) >= 0:
        raise _error(Place(file, text.count("\n", 0, position) + 1), "The file has a NUL character.")
    try:
        return _tree(yaml.parse(text, Loader=_Loader), file)
    except yaml.MarkedYAMLError as error:
        words = error.problem or error.context or "this is no valid YAML"
        raise _error(_place(file, error.problem_mark or error.context_mark), f"{words.capitalize()}.") from error
    except yaml.YAMLError as error:
        raise _error(Place(file), "The file has a character that YAML does not allow.") from error


def _error(place: Place, text: str) -> ConfigError:
    return ConfigError([Problem(place, text)])


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file)


def _tree(events: Iterator[Any], file: str) -> Node:
    """Build the tree from the events of the parser, without recursion."""
    root: Node | None = None
    open_: list[Node] = []
    key: list[tuple[str, Place] | None] = []
    for event in events:
        place = _place(file, event.start_mark)
        match event:
            case yaml.DocumentStartEvent() if root is not None:
                raise _error(place, "A file has one document.")
            case yaml.AliasEvent():
                raise _error(place, "Anchors and aliases are not accepted.")
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                open_.pop()
                key.pop()
                continue
            case yaml.NodeEvent():
                _check(event, place, len(open_))
            case _:
                continue
        node = Node(place, _value(event, place))
        if root is None:
            root = node
        elif isinstance(open_[-1].value, list):
            open_[-1].value.append(node)
        elif key[-1] is None:
            key[-1] = _key(event, open_[-1], place)
            continue
        else:
            name, at = key[-1]
            open_[-1].value[name], open_[-1].keys[name] = node, at
            key[-1] = None
        if isinstance(node.value, list | dict):
            open_.append(node)
            key.append(None)
    if root is None:
        raise _error(Place(file), "The file is empty.")
    return root


def _check(event: Any, place: Place, depth: int) -> None:
    if event.anchor is not None:
        raise _error(place, "Anchors and aliases are not accepted.")
    if getattr(event, "tag", None) not in (None, "!"):
        raise _error(place, "Tags are not accepted.")
    if depth >= MAX_DEPTH:
        raise _error(place, f"This is nested deeper than {MAX_DEPTH} levels.")


def _key(event: Any, mapping: Node, place: Place) -> tuple[str, Place]:
    if not isinstance(event, yaml.ScalarEvent):
        raise _error(place, "A key must be text.")
    name = _text(event.value, place)
    if (first := mapping.keys.get(name)) is not None:
        raise _error(place, f"{name} is here twice. The first is in line {first.line}.")
    return name, place


def _value(event: Any, place: Place) -> Any:
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    text = _text(event.value, place)
    return _scalar(text, place) if event.style in (None, "") and event.implicit[0] else text


def _text(text: str, place: Place) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise _error(place, "The text has a character that cannot be stored.")
    return text


def _scalar(text: str, place: Place) -> Any:
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        if len(text) > 40:
            raise _error(place, "The number is too long. Put text into quotes.")
        return float(text)
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes text that a reader of YAML 1.1 or 1.2 would take for something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key, as most formatters do."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value again each time."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> Any:
    # In plain text, the library writes these as line breaks.
    style = '"' if _LINE_BREAKS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))


def write(value: Any) -> str:
    """Return a document. The same value gives the same text."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=4096
    )
    return text

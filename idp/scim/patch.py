"""PATCH (RFC 7644 section 3.5.2): reads operations, and applies them to the document of a resource.

Identity providers do not send what the specification says, so this is also accepted: ``op`` in any case, booleans as
texts, ``remove`` with the values to remove, an operation without a path whose value has paths as its names, a value
that is not in a list, and a filter that selects no element yet: the element that it describes is added.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from idp.scim.attributes import OTHER_SUBS, Attribute, ResourceType
from idp.scim.errors import InvalidPathError, InvalidSyntaxError, InvalidValueError, MutabilityError, NoTargetError
from idp.scim.extensions import extension
from idp.scim.filters import Both, Comparison, Either, Filter, Not, Path, Present, Selection, parse_path

MESSAGE: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
#: Operations on a group, whose members some providers change one by one, and on a user.
MAX_OPERATIONS: Final = 500
MAX_OPERATIONS_OF_USER: Final = 100
#: Values of an attribute of a user.
MAX_ELEMENTS: Final = 50
#: Members of an object.
MAX_MEMBERS: Final = 200
MAX_TEXT: Final = 2000

Document = dict[str, Any]


class Operation(msgspec.Struct, frozen=True):
    """One change of one attribute.

    Attributes:
        op: ``add``, ``remove`` or ``replace``.
        attribute: the attribute.
        sub: the name of the sub-attribute, if one is changed.
        selection: which elements are changed; None: all.
        value: None: the value is removed.
        schema: the URN of the extension; None: an attribute of the resource itself.
    """

    op: str
    attribute: Attribute
    sub: Attribute | None = None
    selection: Filter | None = None
    value: Any = None
    schema: str | None = None


def read_operations(resource: ResourceType, body: Mapping[str, Any]) -> list[Operation]:
    """Return the operations of a request, without those on attributes that this server does not have.

    Raises:
        ScimError: the request is malformed, names an unknown attribute, or changes one that is read-only.
    """
    given = _member(body, "operations")
    limit = MAX_OPERATIONS if resource.find("members") is not None else MAX_OPERATIONS_OF_USER
    if not isinstance(given, list) or not given or len(given) > limit:
        raise InvalidSyntaxError(f"Operations must be a list of 1 to {limit} operations.")
    found: list[Operation] = []
    for each in given:
        if not isinstance(each, dict):
            raise InvalidSyntaxError("An operation must be an object.")
        found += _read(resource, each)
    return found


def _member(body: Mapping[str, Any], name: str) -> Any:
    """Return a member of a message, whatever the case of its name."""
    return next((value for key, value in body.items() if key.lower() == name), None)


def _read(resource: ResourceType, given: Mapping[str, Any]) -> Iterator[Operation]:
    op, path, value = (_member(given, name) for name in ("op", "path", "value"))
    op = op.lower() if isinstance(op, str) else op
    if op not in ("add", "remove", "replace"):
        raise InvalidSyntaxError("op must be add, remove or replace.")
    if path is not None and not isinstance(path, str):
        raise InvalidPathError("The path must be a text.")
    if op == "remove" and not path:
        raise NoTargetError("An operation that removes needs a path.")
    if op == "add" and value is None:
        raise InvalidValueError("An operation that adds needs a value.")
    if path and path.lower() != resource.schema.lower():
        yield from _at(resource, op, path, value, named=True)
        return
    if not isinstance(value, dict):
        raise InvalidValueError("Without a path, the value must be an object.")
    yield from _within(resource, op, value)


def _within(resource: ResourceType, op: str, values: Mapping[str, Any]) -> Iterator[Operation]:
    """Return the operations of an object whose names are paths."""
    for name, value in _members(values):
        if name.lower() == resource.schema.lower() and isinstance(value, dict):
            yield from _within(resource, op, value)
        elif extension(resource, name) is not None and isinstance(value, dict):
            for inner, part in _members(value):
                yield from _at(resource, op, f"{name}:{inner}", part, named=False)
        else:
            with suppress(InvalidPathError):
                yield from _at(resource, op, name, value, named=False)


def _at(resource: ResourceType, op: str, text: str, value: Any, *, named: bool) -> Iterator[Operation]:
    """Return the operation at a path, if this server has the attribute.

    Args:
        named: the request names the path, and not only an object with it. Then it is refused if it cannot be changed.
    """
    tree = parse_path(text)
    path, selection, sub_name = (
        (tree.path, tree.inner, tree.sub) if isinstance(tree, Selection) else (tree, None, tree.sub)
    )
    if path.schema is not None and path.schema.lower() != resource.schema.lower():
        if selection is not None:
            raise InvalidPathError("Values of an extension cannot be selected.")
        yield from _in_extension(resource, op, path, value, named=named)
        return
    attribute = resource.find(path.attribute)
    if attribute is None:
        if named and not resource.is_other(path.attribute):
            raise InvalidPathError("The path names an unknown attribute.")
        return
    sub = attribute.find(sub_name) if sub_name is not None else None
    if sub_name is not None and sub is None:
        if attribute.type == "complex" and (not named or sub_name.lower() in OTHER_SUBS):
            return
        raise InvalidPathError("The path names an unknown attribute.")
    if selection is not None and not attribute.multi:
        raise InvalidPathError("Only elements of an attribute with several values can be selected.")
    if not attribute.writable or (sub is not None and not sub.writable and not attribute.follows):
        if named:
            raise MutabilityError(f"{attribute.name} is read-only.")
        return
    removes = op == "remove" or value is None
    if removes and attribute.required and sub is None and selection is None:
        raise MutabilityError(f"{attribute.name} cannot be removed.")
    conformed = conform_sub(sub, value) if sub is not None else conform(attribute, value, whole=selection is None)
    yield Operation(op, attribute, sub, selection, conformed)


def _in_extension(resource: ResourceType, op: str, path: Path, value: Any, *, named: bool) -> Iterator[Operation]:
    """Return the operation on an attribute of an extension, if this server has it."""
    found = extension(resource, path.schema or "")
    named_one = found.find(path.attribute) if found is not None else None
    if found is None or named_one is None or path.sub is not None:
        return
    attribute, _ = named_one
    if attribute.writable:
        yield Operation(op, attribute, value=conform(attribute, value), schema=found.schema)
    elif named:
        raise MutabilityError(f"{attribute.name} is read-only.")


def conform(attribute: Attribute, value: Any, *, whole: bool = True) -> Any:
    """Return a value in the form of its attribute, without parts that this server does not have.

    Args:
        whole: it is the whole attribute; otherwise one element of one with several values.

    Raises:
        InvalidValueError: it is not one.
    """
    if value is None:
        return None
    if attribute.type != "complex":
        if not attribute.multi:
            return conform_sub(attribute, value)
        values = value if isinstance(value, list) else [value]
        _check_number(attribute, values)
        return [conform_sub(attribute, each) for each in values]
    if attribute.multi and whole:
        elements = value if isinstance(value, list) else [value]
        if attribute.name != "members":
            _check_number(attribute, elements)
        return [conform(attribute, element, whole=False) for element in elements if element is not None]
    if isinstance(value, str) and attribute.find("value") is not None:
        value = {"value": value}
    if not isinstance(value, dict):
        raise InvalidValueError(f"{attribute.name} must be an object.")
    parts = {}
    for name, part in _members(value):
        sub = attribute.find(name)
        if sub is not None and (sub.writable or attribute.follows):
            parts[sub.name] = conform_sub(sub, part)
    return parts


def _check_number(attribute: Attribute, elements: Sequence[Any]) -> None:
    """
    Raises:
        InvalidValueError: there are too many. An operation compares each with each.
    """
    if len(elements) > MAX_ELEMENTS:
        raise InvalidValueError(f"{attribute.name} has up to {MAX_ELEMENTS} values.")


def _members(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the members of an object.

    Raises:
        InvalidValueError: there are too many.
    """
    if len(value) > MAX_MEMBERS:
        raise InvalidValueError(f"An object has up to {MAX_MEMBERS} members.")
    return value.items()


def conform_sub(attribute: Attribute, value: Any) -> Any:
    """Return a value of a simple attribute.

    Raises:
        InvalidValueError: it is not one.
    """
    if value is None or value == []:
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and set(value) <= {"value", "$ref"}:
        value = value.get("value")
    if attribute.type == "boolean":
        found = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(found, bool):
            raise InvalidValueError(f"{attribute.name} must be true or false.")
        return found
    if attribute.type in ("integer", "decimal"):
        return _number(attribute, value)
    if not isinstance(value, str):
        raise InvalidValueError(f"{attribute.name} must be a text.")
    if len(value) > MAX_TEXT or "\0" in value:
        raise InvalidValueError(f"{attribute.name} is too long, or has a character that cannot be stored.")
    return value or None


def _number(attribute: Attribute, value: Any) -> int | float:
    """Return a number, also one as text."""
    try:
        found = msgspec.convert(value, int if attribute.type == "integer" else float, strict=False)
    except msgspec.ValidationError:
        found = None
    if found is None or isinstance(value, bool):
        raise InvalidValueError(f"{attribute.name} must be a number.")
    return found


def read_document(resource: ResourceType, body: Mapping[str, Any]) -> Document:
    """Return the attributes of a resource that a client sends. Read-only ones, and those that this server does not
    have, are left out (section 3.3).

    Raises:
        InvalidValueError: a value is not valid.
    """
    found: Document = {}
    for name, value in _members(body):
        if name.lower() == resource.schema.lower() and isinstance(value, dict):
            found |= read_document(resource, value)
        elif (its := extension(resource, name)) is not None and isinstance(value, dict):
            named = ((its.find(inner), part) for inner, part in _members(value))
            found[its.schema] = {one[0].name: conform(one[0], part) for one, part in named if one and one[0].writable}
        attribute = resource.find(name)
        if attribute is not None and attribute.writable:
            found[attribute.name] = conform(attribute, value)
    return found


def apply(document: Document, operation: Operation) -> None:
    """Apply an operation to a document.

    Raises:
        NoTargetError: it selects no element, and does not describe one.
        InvalidValueError: the attribute would have too many values.
    """
    name, attribute = operation.attribute.name, operation.attribute
    if operation.schema is not None:
        inner: Document = document.setdefault(operation.schema, {})
        apply(inner, msgspec.structs.replace(operation, schema=None))
    elif attribute.multi and attribute.type != "complex":
        document[name] = _values(document.get(name) or [], operation)
        _check_number(attribute, document[name])
    elif attribute.multi:
        document[name] = _elements(document.get(name) or [], operation)
        _check_number(attribute, document[name])
        if not document[name]:
            del document[name]
    elif operation.sub is not None:
        _set(document.setdefault(name, {}), operation.sub.name, operation)
    elif attribute.type == "complex" and isinstance(operation.value, dict) and operation.op != "remove":
        document[name] = document.get(name, {}) | operation.value
    else:
        _set(document, name, operation)


def _values(values: list[Any], operation: Operation) -> list[Any]:
    """Return the values of an attribute that is not complex after an operation."""
    given = operation.value or []
    if operation.op == "add":
        return values + [value for value in given if value not in values]
    if operation.op == "remove" and given:
        return [value for value in values if value not in given]
    return [] if operation.op == "remove" else given


def _set(document: Document, name: str, operation: Operation) -> None:
    if operation.op == "remove" or operation.value is None:
        document.pop(name, None)
    else:
        document[name] = operation.value


def _elements(elements: list[Document], operation: Operation) -> list[Document]:
    """Return the elements of an attribute after an operation."""
    selection, value = operation.selection, operation.value
    if selection is not None:
        return _selected(elements, operation, selection)
    if operation.sub is not None:
        return _changed(elements or [{}], operation)
    given: list[Document] = value or []
    if operation.op == "add":
        return elements + [element for element in given if element not in elements]
    if operation.op == "replace":
        return given
    if not given:
        return []
    return [element for element in elements if not any(element.items() >= each.items() for each in given)]


def _selected(elements: list[Document], operation: Operation, selection: Filter) -> list[Document]:
    chosen = [element for element in elements if matches(selection, element)]
    if operation.op != "remove" and not chosen:
        described = describe(selection)
        if described is None:
            raise NoTargetError("The path selects nothing.")
        return elements + _changed([described], operation)
    rest = [element for element in elements if element not in chosen]
    return rest + _changed(chosen, operation)


def _changed(elements: list[Document], operation: Operation) -> list[Document]:
    """Return elements after an operation on each of them, without those that are empty."""
    if operation.sub is None:
        found = [] if operation.op == "remove" or operation.value is None else [
            element | operation.value for element in elements
        ]  # fmt: skip
    else:
        found = [dict(element) for element in elements]
        for element in found:
            _set(element, operation.sub.name, operation)
    return [element for element in found if element.keys() - {"type", "primary"}]


def matches(filter: Filter, element: Document) -> bool:
    """Return whether an element is selected."""
    match filter:
        case Both(terms):
            return all(matches(term, element) for term in terms)
        case Either(terms):
            return any(matches(term, element) for term in terms)
        case Not(inner):
            return not matches(inner, element)
        case Present(path):
            return _value(path, element) is not None
        case Comparison(path, operator, value):
            return _compared(_value(path, element), operator, value)
        case Selection():
            return False


def _value(path: Path, element: Document) -> Any:
    return next((value for name, value in element.items() if name.lower() == path.attribute.lower()), None)


def _compared(found: Any, operator: str, value: Any) -> bool:
    if operator == "ne":
        return not _compared(found, "eq", value)
    if isinstance(found, bool) and isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(found, str) or not isinstance(value, str):
        return operator == "eq" and found == value
    left, right = found.lower(), value.lower()
    comparisons = {
        "eq": left == right, "co": right in left, "sw": left.startswith(right), "ew": left.endswith(right),
        "gt": left > right, "ge": left >= right, "lt": left < right, "le": left <= right,
    }  # fmt: skip
    return comparisons[operator]


def describe(filter: Filter) -> Document | None:
    """Return the element that a filter describes, if it compares by ``eq`` and ``and`` only."""
    match filter:
        case Comparison(path, "eq", value) if isinstance(value, str | bool) and path.sub is None:
            if isinstance(value, bool) != (path.attribute.lower() == "primary"):
                return None
            return {path.attribute[:1].lower() + path.attribute[1:]: value}
        case Both(terms):
            found: Document = {}
            for term in terms:
                described = describe(term)
                if described is None:
                    return None
                found |= described
            return found
    return None

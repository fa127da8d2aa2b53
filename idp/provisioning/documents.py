"""SCIM resources: what they have at a path, how they differ from what they are to be, and the requests that follow.

Names of attributes are compared without regard to case (RFC 7643 section 2.1). What we do not map stays as it is.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from hashlib import sha256
from typing import Any, Final

import msgspec

from idp.provisioning.mapping import CORE, WORK
from idp.provisioning.models import Document

PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
#: Values that servers may store in another case.
_CASELESS: Final = frozenset({"userName", "emails"})


def hash_of(values: Mapping[str, Any]) -> bytes:
    """Return the hash by which a later delivery knows that nothing has changed."""
    return sha256(msgspec.json.encode(values, order="sorted")).digest()


def key_in(document: Mapping[str, Any], name: str) -> str | None:
    """Return the name of an attribute as a document spells it; None: it is not there."""
    if name in document:
        return name
    lowered = name.lower()
    return next((key for key in document if isinstance(key, str) and key.lower() == lowered), None)


def get(document: Mapping[str, Any], name: str) -> Any:
    """Return the value of an attribute; None: there is none."""
    key = key_in(document, name)
    return document[key] if key is not None else None


def _parts(path: str) -> tuple[str, str]:
    """Return the attribute and its sub-attribute, or the schema and its attribute; the second may be empty."""
    if path.startswith("urn:"):
        schema, _, name = path.rpartition(":")
        return schema, name
    name, _, sub = path.partition(".")
    return name, sub


def at(document: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of a mapping; of an attribute with several, the one of type ``work``."""
    name, inner = _parts(path)
    value = get(document, name)
    if inner:
        return get(value, inner) if isinstance(value, Mapping) else None
    if path not in WORK:
        return value
    element = _work(value)
    if element is None or path == "addresses":
        return element
    return get(element, "value")


def elements_of(value: Any) -> list[dict[str, Any]]:
    """Return the elements of a multi-valued attribute that have sub-attributes."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _is_work(element: Mapping[str, Any]) -> bool:
    return str(get(element, "type") or "").lower() == "work"


def _work(value: Any) -> dict[str, Any] | None:
    """Return the element of type ``work``, or else one without a type."""
    elements = elements_of(value)
    typed = [each for each in elements if _is_work(each)] or [each for each in elements if not get(each, "type")]
    return typed[0] if typed else None


def same(path: str, wanted: Any, found: Any) -> bool:
    """Return whether a value at the target is the one that it is to be."""
    if path == "addresses":
        found = {name: get(found, name) for name in wanted or {}} if isinstance(found, Mapping) else None
        return (wanted or None) == (found or None)
    if path in _CASELESS and isinstance(found, str) and isinstance(wanted, str):
        return wanted.casefold() == found.casefold()
    return bool((wanted if wanted is not None else None) == (found if found not in ("", []) else None))


def differences(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the paths at which a resource is not what it is to be."""
    return [path for path, value in wanted.items() if not same(path, value, at(current, path))]


def _element(path: str, value: Any) -> dict[str, Any]:
    return (dict(value) if path == "addresses" else {"value": value}) | {"type": "work", "primary": True}


def _with_work(path: str, value: Any, current: Any) -> list[dict[str, Any]]:
    """Return the elements of an attribute with another one of type ``work``."""
    ours = _work(current)
    others = [each | {"primary": False} if get(each, "primary") else each
              for each in elements_of(current) if each is not ours]  # fmt: skip
    return ([_element(path, value)] if value is not None else []) + others


def new(wanted: Mapping[str, Any]) -> Document:
    """Return the resource of a new user."""
    found: Document = {"schemas": [CORE]}
    for path, value in wanted.items():
        if value is not None:
            _set(found, path, value)
    return found


def _set(document: Document, path: str, value: Any) -> None:
    name, inner = _parts(path)
    key = key_in(document, name) or name
    if path in WORK:
        document[key] = _with_work(path, value, document.get(key))
    elif not inner:
        document[key] = value
    else:
        inside = document.get(key)
        inside = dict(inside) if isinstance(inside, dict) else {}
        inside[key_in(inside, inner) or inner] = value
        document[key] = inside
        if name.startswith("urn:") and name not in document["schemas"]:
            document["schemas"] = [*document["schemas"], name]


def replacement(current: Document, wanted: Mapping[str, Any], paths: Iterable[str]) -> Document:
    """Return the whole resource for PUT: as it is, with other values at some paths."""
    found = deepcopy(current)
    for name in ("meta", "groups"):
        if (key := key_in(found, name)) is not None:
            del found[key]
    if not isinstance(found.get("schemas"), list):
        found["schemas"] = [CORE]
    for path in paths:
        if wanted[path] is None and path not in WORK:
            _remove(found, path)
        else:
            _set(found, path, wanted[path])
    return found


def _remove(document: Document, path: str) -> None:
    name, inner = _parts(path)
    inside = get(document, name) if inner else document
    key = key_in(inside, inner or name) if isinstance(inside, dict) else None
    if key is not None:
        del inside[key]


def operations(current: Document, wanted: Mapping[str, Any], paths: Iterable[str]) -> Document:
    """Return the PATCH request that makes some paths what they are to be (RFC 7644 section 3.5.2)."""
    found: list[dict[str, Any]] = []
    for path in paths:
        value = wanted[path]
        if path in WORK:
            value = _with_work(path, value, get(current, path))
        if value in (None, []):
            found.append({"op": "remove", "path": path})
        else:
            found.append({"op": "replace", "path": path, "value": value})
    return patch(found)


def patch(operations: list[dict[str, Any]]) -> Document:
    return {"schemas": [PATCH_OP], "Operations": operations}

"""The route table: the handler of each path and method, built from the declarations of the handlers.

A handler is declared with Litestar's decorators (``@get("/login/{flow_id:str}", opt=...)``). Its ``opt`` declares who
may call it (:class:`idp.http.access.Access`), and other properties of the route. A declaration that is incomplete, or
contradicts itself, stops the start.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import signature
from typing import Any, Final, NamedTuple
from uuid import UUID

from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from idp.http.access import Access
from idp.http.cors import Cors

_PARAMETER: Final = re.compile(r"{(\w+):(\w+)}")
_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {"str": str, "uuid": UUID, "path": str}
#: The keys of a node's children for a parameter, and for all remaining components.
_ANY, _REST = "{}", "{path}"


#: Answers an exception; None leaves it to the general handlers.
Errors = Callable[[Any, Exception], Any]


class Route(NamedTuple):
    """One path.

    Attributes:
        path: the declared path, such as ``/login/{flow_id:str}``.
        parameters: name and converter of each parameter of the path.
        handlers: by method.
        cors: which pages of other origins may read the responses.
        template: the path for logs, such as ``/login/{flow_id}``.
    """

    path: str
    parameters: tuple[tuple[str, Callable[[str], Any]], ...]
    handlers: dict[str, HTTPRouteHandler]
    cors: Cors | None
    template: str

    @property
    def allow(self) -> str:
        """Return the value of the Allow header."""
        return ", ".join(sorted({*self.handlers, *(("HEAD",) if "GET" in self.handlers else ()), "OPTIONS"}))

    def handler(self, method: str) -> HTTPRouteHandler:
        """Return the handler of a method.

        Raises:
            MethodNotAllowedException: there is none.
        """
        found = self.handlers.get(method)
        if found is None:
            raise MethodNotAllowedException(headers={"Allow": self.allow})
        return found


class Routes:
    """All routes, as an iterable."""

    def __init__(self, handlers: Iterable[BaseRouteHandler], errors: Mapping[str, Errors] | None = None) -> None:
        """
        Args:
            errors: by the prefix of paths whose errors have a form of their own, those of unknown paths too.

        Raises:
            RuntimeError: a handler has no access, has a contradictory declaration, or has the path and method of
                another one.
        """
        self._errors = errors or {}
        self._routes: dict[str, Route] = {}
        for handler in handlers:
            for path in sorted(handler.paths):
                self._add(path, handler)
        #: Paths without parameters, which are found without walking the tree.
        self._plain = {route.path: route for route in self if not route.parameters}
        self._tree: dict[str, Any] = {}
        for route in self:
            node = self._tree
            for component in _components(route.path):
                node = node.setdefault(_key(component), {})
            if "" in node:
                raise RuntimeError(f"The routes {node[''].path} and {route.path} differ only in names of parameters.")
            node[""] = route

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def _add(self, path: str, handler: BaseRouteHandler) -> None:
        check_declaration(path, handler)
        assert isinstance(handler, HTTPRouteHandler)  # noqa: S101 -- checked by the line above
        cors = handler.opt.get("cors")
        parameters = tuple((name, _CONVERTERS[kind]) for name, kind in _PARAMETER.findall(path))
        route = self._routes.setdefault(path, Route(path, parameters, {}, cors, _PARAMETER.sub(r"{\1}", path)))
        if route.cors != cors:
            raise RuntimeError(f"The handlers of {path} declare different values of cors.")
        for method in handler.http_methods:
            if method in route.handlers:
                raise RuntimeError(f"There are two handlers for {method} {path}.")
            route.handlers[str(method)] = handler

    def errors(self, path: str) -> Errors | None:
        """Return the function that answers the errors of a path in a form of its own, if there is one."""
        below = canonical(path) + "/"
        return next((errors for prefix, errors in self._errors.items() if below.startswith(prefix + "/")), None)

    def find(self, path: str) -> tuple[Route, dict[str, Any]] | None:
        """Return the route of a path and the values of its parameters, or None if there is no such route.

        Trailing and repeated slashes are ignored.
        """
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        node, values, components = self._tree, list[str](), _components(path)
        for index, component in enumerate(components):
            if component in node and component not in (_ANY, _REST):
                node = node[component]
            elif _ANY in node:
                node = node[_ANY]
                values.append(component)
            elif _REST in node:
                node = node[_REST]
                values.append("/".join(components[index:]))
                break
            else:
                return None
        route: Route | None = node.get("")
        if route is None:
            return None
        try:
            return route, {
                name: convert(value) for (name, convert), value in zip(route.parameters, values, strict=True)
            }
        except ValueError:
            return None


def canonical(path: str) -> str:
    """Return a path without repeated slashes and without one at the end."""
    return path if path == "/" or ("//" not in path and path[-1:] != "/") else "/" + "/".join(_components(path))


def _components(path: str) -> list[str]:
    return [component for component in path.split("/") if component]


def _key(component: str) -> str:
    parameter = _PARAMETER.fullmatch(component)
    if parameter is None:
        return component
    return _REST if parameter[2] == "path" else _ANY


def check_declaration(path: str, handler: BaseRouteHandler) -> None:
    """Refuse a handler whose declaration is incomplete or contradicts itself.

    Raises:
        RuntimeError: naming the path.
    """
    access, cors = handler.opt.get("access"), handler.opt.get("cors")
    if access not in set(Access):
        raise RuntimeError(f"The route {path} does not declare who may call it.")
    if not isinstance(handler, HTTPRouteHandler):
        raise RuntimeError(f"The route {path} is not of HTTP, so nothing would guard it.")  # noqa: TRY004
    try:
        signature(handler.fn).bind(None, **{name: "" for name, _ in _PARAMETER.findall(path)})
    except TypeError as error:
        raise RuntimeError(f"The handler of {path} must take the request and the parameters of the path.") from error
    if cors is not None and access in (Access.PAGE, Access.ENTRY):
        raise RuntimeError(f"The route {path} is for browsers on our own pages, so no other origin may read it.")

"""The pages of the site that are made from the code: every command, and every operation of the admin API."""

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import rich_click as click

from idp.admin.api.openapi import document
from idp.cli.main import COMMANDS
from idp.settings import settings

#: The line of docs/index.md in whose place the pages are listed.
GENERATED = "<!-- pages made from the code -->"
CLI, API = "reference/cli", "reference/admin-api"
OPENAPI = f"{API}/openapi.json"
ISSUER = "https://id.example.com"


class Page(NamedTuple):
    """A page in Markdown. ``about`` says what it has, for the list of pages."""

    title: str
    about: str
    text: str


def generated_pages() -> dict[str, Page]:
    """Return the pages by their path in the site. The page ``index.md`` of a folder lists the others of it."""
    return dict([*_command_pages(), *_api_pages()])


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document, with an example as issuer."""
    found: dict[str, Any] = _replaced(document(), settings().issuer)
    return found


def _replaced(value: Any, issuer: str) -> Any:
    match value:
        case dict():
            return {key: _replaced(each, issuer) for key, each in value.items()}
        case list():
            return [_replaced(each, issuer) for each in value]
        case str():
            return value.replace(issuer, ISSUER)
    return value


# Commands


def _command_pages() -> Iterator[tuple[str, Page]]:
    rows = []
    for name, (about, place) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        yield f"{CLI}/{name}.md", Page(f"idp {name}", about, f"# idp {name}\n\n{''.join(_command(command, name))}")
        rows.append((f"[`idp {name}`]({name}.md)", _cell(about)))
    text = f"# Commands\n\nMade from the code. `idp COMMAND --help` prints the same.\n\n{_table(('', ''), rows)}"
    yield f"{CLI}/index.md", Page("Commands", "every command of `idp` with its options", text)


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Return a command and all below it, each with its name as it is typed after ``idp``."""
    yield path, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from commands(child, f"{path} {name}")


def _command(root: click.Command, path: str) -> Iterator[str]:
    for name, command in commands(root, path):
        if command.hidden:
            continue
        context = click.Context(command, info_name=f"idp {name}")
        if command is not root:
            yield f"{'#' * min(name.count(' ') + 1, 4)} idp {name}\n\n"
        yield f"{_escape(command.help or '')}\n\n"
        if not isinstance(command, click.Group) or command.invoke_without_command:
            pieces = " ".join(command.collect_usage_pieces(context))
            yield f"```text\nidp {name} {pieces}\n```\n\n"
        rows = [
            _option(option, context)
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden
        ]
        if rows:
            yield _table(("Option", "Meaning"), rows)


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names, meaning = option.get_help_record(context) or ("", "")
    return f"`{names}`", _cell(meaning)


# The admin API


def _api_pages() -> Iterator[tuple[str, Page]]:
    found = openapi()
    tags: dict[str, list[str]] = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    rows = []
    for tag in sorted(tags):
        title = _title(tag)
        yield f"{API}/{tag}.md", Page(title, "", f"# Admin API: {title}\n\n{''.join(tags[tag])}")
        rows.append((f"[{title}]({tag}.md)", str(len(tags[tag]))))
    yield f"{API}/models.md", Page("Models", "", f"# Admin API: models\n\n{''.join(_models(found))}")
    text = f"{_API_HEAD}{_table(('Records', 'Operations'), rows)}{_errors(found)}"
    yield f"{API}/index.md", Page("Operations of the admin API", "every path, parameter and model", text)


_API_HEAD = """# Operations of the admin API

Made from the code. [The admin API](../../admin-api.md) says how to get a token, and what all operations have in common.
The same as an OpenAPI 3.1 document: [openapi.json](openapi.json); a server has its own at `/admin/api/v1/openapi.json`.
All paths are below `/admin/api/v1`. The bodies of requests and responses are [models](models.md).

"""


def _title(tag: str) -> str:
    title = tag.replace("_", " ").capitalize()
    return title.replace("Scim", "SCIM").replace("Id jag", "ID-JAG")


def _errors(found: dict[str, Any]) -> str:
    operation = next(iter(next(iter(found["paths"].values())).values()))
    rows = [(code, _cell(response["description"])) for code, response in operation["responses"].items() if code >= "4"]
    return f"## Errors\n\nEach operation may answer with one of these.\n\n{_table(('Status', 'Meaning'), rows)}"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    scopes = operation["security"][0]["oauth2"]
    status, success = next(iter(operation["responses"].items()))
    lines = [
        f"## {operation['summary']}\n\n```http\n{method.upper()} {path}\n```\n\n",
        f"{operation['description']}\n\n" if "description" in operation else "",
        f"- Scope: {', '.join(f'`{scope}`' for scope in scopes) or 'any'}\n",
    ]
    if "requestBody" in operation:
        lines.append(f"- Body: {_type(_schema(operation['requestBody']))}\n")
    lines.append(f"- Response: {status}{f', {_type(_schema(success))}' if 'content' in success else ''}\n\n")
    rows = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), _cell(each.get("description", "")))
        for each in operation["parameters"]
    ]
    return "".join(lines) + (_table(("Parameter", "In", "Type", "Meaning"), rows) if rows else "")


def _schema(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(body["content"].values()))["schema"]
    return found


def _models(found: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(found["components"]["schemas"].items(), key=lambda item: _short(item[0]).lower()):
        yield f"## {_short(name)} {{ #{anchor(name)} }}\n\n{_escape(schema.get('description', ''))}\n\n"
        required = schema.get("required", ())
        rows = [
            (f"`{member}`{' ¹' if member in required else ''}", _type(each), _cell(each.get("description", "")))
            for member, each in schema.get("properties", {}).items()
        ]
        yield _table(("Member (¹ always there)", "Type", "Meaning"), rows) if rows else f"{_type(schema)}\n\n"


def _short(name: str) -> str:
    """Return the name of a model. Those of which several have the same name are listed with their module."""
    *modules, last = name.split(".")
    return f"{last} ({modules[-1].replace('_', ' ')})" if modules else last


def anchor(name: str) -> str:
    """Return the anchor of a model on the page of models."""
    return name.lower().replace(".", "-").replace("_", "-")


def _type(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in a few words, with links to models."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return f"[{_short(name)}](models.md#{anchor(name)})"
        case {"anyOf": [*choices]}:
            return " or ".join(_type(each) for each in choices)
        case {"enum": [*values]}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "object", "properties": {"items": {"items": item}, "next_cursor": _}}:
            return f"a page of {_type(item)}"
        case {"type": "array"}:
            return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
        case {"type": [*kinds]}:
            return " or ".join(kinds)
        case {"type": str(kind)}:
            limits = [f"{label} {schema[key]}" for key, label in _LIMITS.items() if key in schema]
            return ", ".join([str(schema.get("format", kind)), *limits])
    return "any"


_LIMITS = {
    "minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most", "default": "default",
}  # fmt: skip


# Markdown


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _escape(text: str) -> str:
    """Return a text whose brackets, stars and underscores are not markup. Code in backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", inspect.cleandoc(text).replace("``", "`"))
    parts[::2] = [re.sub(r"([<\[\]*_])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)

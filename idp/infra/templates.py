"""Templates of pages and mails, and the static files of pages.

Templates in the operator's folder take precedence over those shipped with the server, and so do static files (in the
folder ``static`` of either). Everything except plain-text mails is escaped.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, meta, nodes, select_autoescape
from markupsafe import Markup, escape

from idp.infra import i18n, mail_html
from idp.settings import settings

#: The types of files that are served. Files of other types in a ``static`` folder are ignored.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


class Theme(msgspec.Struct, frozen=True):
    """The name of the server, and a logo that replaces the default one."""

    product_name: str = "idp"
    logo_url: str | None = None


class Asset(msgspec.Struct, frozen=True):
    """A static file, held in memory.

    Attributes:
        version: the beginning of its SHA-256; a URL with it may be cached forever.
        etag: a strong validator (RFC 9110 section 8.8.3).
    """

    content: bytes
    media_type: str
    version: str
    etag: str

    def headers(self, version: str | None) -> dict[str, str]:
        """Return the caching headers for a request with ``?v=version``.

        During a rolling update a server may be asked for the version of another release. Caches must not keep its own
        file under that name. Without a version, as in URLs of a style sheet, the lifetime is an hour.
        """
        if version is None:
            caching = "public, max-age=3600"
        elif version == self.version:
            caching = "public, max-age=31536000, immutable"
        else:
            caching = "no-cache"
        return {"Cache-Control": caching, "ETag": self.etag}


def templates_path() -> Path:
    """Return the folder of the shipped templates: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def load_assets(*folders: Path) -> dict[str, Asset]:
    """Read the static files by name. Files of an earlier folder take precedence."""
    assets: dict[str, Asset] = {}
    for folder in reversed(folders):
        for path in sorted(folder.rglob("*")):
            media_type = MEDIA_TYPES.get(path.suffix)
            if media_type is None or not path.is_file():
                continue
            assets[path.relative_to(folder).as_posix()] = _asset(path.read_bytes(), media_type)
    return assets


def _asset(content: bytes, media_type: str) -> Asset:
    digest = hashlib.sha256(content).hexdigest()
    return Asset(content, media_type, digest[:8], f'"{digest[:32]}"')


#: Attributes of a page that link to a path of this server. Values are escaped, so only attributes match.
_LINKS = re.compile(r'(?<=\s)((?:href|src|srcset|action|formaction)="|content="\d+; ?url=)(?=/(?!/))')


def code_spans(text: str) -> Markup:
    """Return text as HTML, with what is between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- it is escaped


def web_url(value: str | None) -> str | None:
    """Return the value if it is an http(s) URL or a path of this server, else None.

    Clients register their own links, and escaping does not make ``javascript:`` harmless.
    """
    # Browsers remove tabs and line ends and read a backslash as a slash: ``/<tab>/evil.example`` is another host.
    if value is None or not value.isprintable() or "\\" in value:
        return None
    is_path = value.startswith("/") and not value.startswith("//")
    return value if is_path or value.lower().startswith(("https://", "http://")) else None


def mail_link(value: str | None) -> str | None:
    """Return the value if a mail may link to it: an http(s) URL, or an address for mail or telephone."""
    if value is not None and value.isprintable() and value.lower().startswith(("mailto:", "tel:")):
        return value
    return web_url(value)


class Templates:
    """The templates and static files of one server.

    Attributes:
        assets: the static files by name, to be served at ``/static/<name>``.
    """

    def __init__(self, theme: Theme, *, overrides: Path | None = None, dev: bool = False, path: str = "") -> None:
        """Load the static files and compile the operator's templates.

        Args:
            theme: the name and the logo of the server, until :meth:`show`.
            overrides: the operator's own templates.
            dev: reload changed templates.
            path: the path of the issuer, a prefix of every link to our own paths.

        Raises:
            jinja2.TemplateSyntaxError: a template of the operator's does not compile.
            NotADirectoryError: the operator's folder does not exist.
        """
        if overrides is not None and not overrides.is_dir():
            raise NotADirectoryError(f"there is no template folder at {overrides}")
        self._path, self._overrides = path, overrides
        folders = [folder for folder in (overrides, templates_path()) if folder is not None]
        self.assets = load_assets(*(folder / "static" for folder in folders))
        self._environment = Environment(
            loader=FileSystemLoader(folders),
            autoescape=select_autoescape(disabled_extensions=("txt",), default=True),
            undefined=StrictUndefined,
            auto_reload=dev,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        self._environment.policies["ext.i18n.trimmed"] = True
        self._environment.install_gettext_callables(  # type: ignore[attr-defined]
            i18n.translate, i18n.translate_plural, newstyle=True
        )
        self._environment.filters["when"] = i18n.moment
        self._environment.filters["day"] = i18n.date
        self._environment.filters["exactly"] = i18n.second
        self._environment.filters["web_url"] = web_url
        self._environment.filters["code_spans"] = code_spans
        self._environment.filters["mail_link"] = mail_link
        self._environment.filters["inline_styles"] = mail_html.inline_styles
        self._environment.filters["preheader"] = mail_html.preheader
        self._environment.globals |= {
            "request_id": "",
            "brand": None,
            "assets": self.assets,
            "languages": i18n.NAMES.items,
            "static_url": self.static_url,
        }
        self.show(theme.product_name, theme.logo_url)
        for name in self._environment.list_templates(extensions=("html", "txt")):
            if self.is_own(name):
                self._environment.get_template(name)

    def show(self, product_name: str, logo_url: str | None) -> None:
        """Set the name and the logo of the server, which every template may use."""
        self._environment.globals |= {"product_name": product_name, "logo_url": logo_url}

    def is_own(self, template: str) -> bool:
        """Return whether a template is the operator's."""
        return self._overrides is not None and (self._overrides / template).is_file()

    def variables(self, template: str) -> set[str]:
        """Return the variables that a template needs, besides those of every template."""
        tree = self._environment.parse(self.source(template))
        # Those that a block uses are not seen as imported.
        imported = {
            name[-1] if isinstance(name, tuple) else name
            for each in tree.find_all(nodes.FromImport)
            for name in each.names
        }
        imported |= {each.target for each in tree.find_all(nodes.Import)}
        return meta.find_undeclared_variables(tree) - imported - self._environment.globals.keys()

    def source(self, template: str) -> str:
        """Return the source of a template."""
        assert self._environment.loader is not None  # noqa: S101 -- set in __init__
        return self._environment.loader.get_source(self._environment, template)[0]

    def static_url(self, name: str) -> str:
        """Return the URL of a static file, which changes with its content."""
        return f"/static/{name}?v={self.assets[name].version}"

    def render(self, template: str, /, **context: Any) -> str:
        """Render a template. Links to our own paths get the path of the issuer.

        Raises:
            jinja2.UndefinedError: a value of the template is missing.
        """
        language = {"lang": i18n.locale.get(), "dir": i18n.direction()}
        text = self._environment.get_template(template).render(language | context)
        return _LINKS.sub(rf"\g<1>{self._path}", text) if self._path else text

    def module(self, template: str, /, **context: Any) -> Any:
        """Return the macros of a template as attributes. They see the context."""
        language = {"lang": i18n.locale.get(), "dir": i18n.direction()}
        return self._environment.get_template(template).make_module(language | context)


@cache
def shipped_templates() -> Templates:
    """Return the templates without those of the operator, for when one of these fails."""
    theme = Theme(settings().product_name, settings().logo_url)
    return Templates(theme, path=settings().path)


@cache
def templates() -> Templates:
    """Return the templates of this process, loaded once."""
    theme = Theme(settings().product_name, settings().logo_url)
    return Templates(theme, overrides=settings().templates_dir, dev=settings().dev, path=settings().path)

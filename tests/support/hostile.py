"""Hostile input: lookalike addresses and markup that would run, and the checks of a refusal."""

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from tests.support.browser import Page

EVIL = "evil.example"

#: Redirect targets that a careless check of "is it local?" accepts.
LOCATIONS = (
    f"//{EVIL}",
    f"///{EVIL}",
    f"/\\{EVIL}",
    f"\\\\{EVIL}",
    f"\\/{EVIL}",
    f"/\t/{EVIL}",
    f"/\n/{EVIL}",
    f"\t//{EVIL}",
    f" //{EVIL}",
    f"/%09/{EVIL}",
    f"/%2f{EVIL}",
    f"/%5c{EVIL}",
    f"/.//{EVIL}",
    f"/..//{EVIL}",
    f"/\0/{EVIL}",
    f"https:{EVIL}",
    f"https:/{EVIL}",
    f"https://{EVIL}",
    f"HTTPS://{EVIL}",
    f"@{EVIL}",
    f".{EVIL}",
    f"/%0d%0aLocation:%20https://{EVIL}",
    f"/\r\nLocation: https://{EVIL}",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
)

#: Schemes with which a browser runs scripts, opens files or starts programs.
SCHEMES = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "javascript://app.example.com/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://app.example.com/x",
    "filesystem:https://app.example.com/x",
    "view-source:https://app.example.com/",
    "intent://app.example.com/#Intent;scheme=https;end",
    "about:blank",
    "ws://app.example.com/",
    "ftp://app.example.com/",
    "mailto:a@example.com",
)

#: Markup that breaks out of an attribute, an element, a comment, a script and a title, and calls alert().
MARKUP = (
    "\"><svg onload=alert('state')>'><img src=x onerror=alert(2)></script><script>alert(3)</script>"
    "--></title></textarea><script>alert(4)</script><a href=javascript:alert(5) autofocus onfocus=alert(6)>{{7*7}}"
)


def lookalikes(uri: str) -> list[str]:
    """Return addresses that a prefix, substring, pattern, case-insensitive or decoding comparison takes for this https
    one.
    """
    parts = urlsplit(uri)
    host, path = parts.netloc, parts.path

    def with_host(netloc: str) -> str:
        return urlunsplit(parts._replace(netloc=netloc))

    def with_path(other: str) -> str:
        return urlunsplit(parts._replace(path=other))

    hosts = [
        f"{host}.{EVIL}", f"{EVIL}/{host}", f"{EVIL}#{host}", f"{EVIL}?{host}", f"{EVIL}\\{host}", f"{host}@{EVIL}",
        f"{host}%40{EVIL}", f"{host}:x@{EVIL}", f"{host}\\@{EVIL}", f"{host}%2f{EVIL}", f"{host}%00.{EVIL}",
        f"{EVIL}\\@{host}", f"user@{host}", f"user:password@{host}", f"@{host}", f"evil-{host}", f"evil.{host}",
        f"x{host}", host.replace(".", "a", 1), host.replace(".", "%2e", 1), host.replace(".", "\u3002"), f"{host}.",
        host.upper(), host.replace("a", "\u0430", 1), host.replace("a", "\uff41", 1), f"xn--{host}", f" {host}",
        f"{host}:443", f"{host}:80", f"{host}:8443", f"{host}:", f"{host}:0443", f"{host}:443@{EVIL}", "", "*",
    ]  # fmt: skip
    paths = [
        f"{path}/", f"/{path}", f"{path}//", f"{path}/.", f"{path}/..", f"{path}/../callback", f"/x/..{path}",
        f"{path}%2f", f"{path}/%2e%2e/evil", f"{path}/%252e%252e/evil", f"{path}..;/evil", f"{path};x=1",
        f"{path}.evil", f"{path}%00", f"{path}%20", f"{path}%0d%0aX:1", path.upper(), f"/%{ord(path[1]):02x}{path[2:]}",
        path[:-1], "/", "", path.replace("/", "\\"), path.replace("/", "%2f"),
    ]  # fmt: skip
    endings = ["?", "?x=1", "&x=1", "#", "#x", "?code=mine", "?state=mine", " ", "\t", "\n", "\0", ",", "%", f",{uri}",
               f" {uri}", "@evil.example", "\u200b"]  # fmt: skip
    schemes = [uri.replace("https:", other) for other in ("http:", "HTTPS:", "", "javascript:", "httpsx:", "xhttps:")]
    whole = [f" {uri}", f"\t{uri}", f"\ufeff{uri}", uri.replace("//", "/"), uri.replace("//", "\\\\"), uri[:-4], host]
    all_of_them = [*map(with_host, hosts), *map(with_path, paths), *(uri + end for end in endings), *schemes, *whole]
    return [other for other in dict.fromkeys(all_of_them) if other != uri]


def assert_refused_here(response: httpx.Response) -> Page:
    """Check that a refusal is one of our own pages: no redirect, and no link, form or timer to another site."""
    assert 400 <= response.status_code < 500, f"{response.status_code} {response.headers.get('location')}"
    assert "location" not in response.headers
    assert "refresh" not in response.headers
    assert response.headers["content-type"].startswith("text/html")
    text = response.text.lower()
    assert "http-equiv" not in text
    assert "<script" not in text
    assert "<form" not in text
    assert EVIL not in text
    return Page(response)


def stays_at(origin: str, location: str) -> bool:
    """Return whether a browser at this origin stays there when it follows the location, parsed as browsers do."""
    # The URL standard: spaces and controls at the ends are removed, tabs and line ends everywhere, a backslash is a
    # slash, and any number of slashes begins a host.
    seen = location.strip("".join(map(chr, range(0x21)))).translate({ord(c): None for c in "\t\r\n"})
    seen = re.sub(r"^(https?:)?/{2,}|^(https?:)", r"\1\2//", seen.replace("\\", "/"), flags=re.IGNORECASE)
    parts = urlsplit(urljoin(f"{origin}/", seen))
    return f"{parts.scheme}://{parts.netloc}" == origin

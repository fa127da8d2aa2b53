"""A reader of a page, who does its commands one after the other beside `idp serve --dev`, with what they print."""

import argparse
import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.cli.conftest import Cli
from tests.support.server import LOOPBACK, TLS, Server
from tests.test_documented_commands import ROOT, blocks, commands

#: What a word of a command is replaced by: a text, or a function of all that the commands before it printed.
Values = dict[str, str | Callable[[str], str]]

_CURL = argparse.ArgumentParser(exit_on_error=False)
_CURL.add_argument("url")
_CURL.add_argument("-s", action="store_true")
_CURL.add_argument("-i", dest="show_status", action="store_true")
_CURL.add_argument("-X", dest="method")
_CURL.add_argument("-u", dest="user")
_CURL.add_argument("-H", dest="headers", action="append", default=[])
_CURL.add_argument("-d", dest="form", action="append", default=[])
_CURL.add_argument("--data-urlencode", dest="files", action="append", default=[])
_CURL.add_argument("--json", dest="body")


class Reader:
    """Does what a reader does in a terminal.

    Attributes:
        folder: the working folder, in which the server is started too.
        printed: everything that the commands printed.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder, self.printed = server, folder, ""
        self._cli = Cli(folder, LOOPBACK)

    def idp(self, *words: str, **options: str) -> str:
        """Run a command that the page does not have, but its commands need."""
        return self._cli(*words, **options).out

    def read(self, page: str, values: Values | None = None, *, input: str = "", without: str = "") -> str:
        """Do all commands of a page.

        Args:
            input: what is typed at each command.
            without: a pattern of commands that are left out.
        """
        self.printed = ""
        for program, *words in commands_of(page):
            if not without or not re.match(without, shlex.join([program, *words])):
                self.do(program, [self.filled(word, values or {}) for word in words], input)
        return self.printed

    def do(self, program: str, words: list[str], input: str = "") -> None:
        """Do one command."""
        if program in ("idp", ".venv/bin/idp"):
            self.printed += self._cli(*words, input=input).out
        elif program == "curl":
            self.printed += self._curl(_CURL.parse_args(words))
        else:
            raise AssertionError(f"The reader has no {program}.")

    def filled(self, word: str, values: Values) -> str:
        """Return a word with the values in place of what the page has."""
        for name, value in values.items():
            if name in word:
                word = word.replace(name, value if isinstance(value, str) else value(self.printed))
        return word.replace("https://id.example.com", self.server.issuer).replace(
            "http://localhost:8000", self.server.issuer
        )

    def _curl(self, given: argparse.Namespace) -> str:
        """Send a request, again for a while: a server knows of a new client or role after a moment.

        With ``-i`` the page shows an error, so the first response counts.
        """
        headers = dict(header.split(": ", 1) for header in given.headers)
        fields = [field.split("=", 1) for field in given.form]
        fields += [(name, (self.folder / path).read_text()) for name, path in (each.split("@") for each in given.files)]
        user = tuple(given.user.split(":", 1)) if given.user else None
        method = given.method or ("POST" if fields or given.body else "GET")
        with httpx.Client(verify=TLS) as http:
            deadline = time.monotonic() + 30
            while True:
                response = http.request(
                    method,
                    given.url,
                    headers=headers,
                    auth=user,
                    data=dict(fields) or None,
                    json=json.loads(given.body) if given.body else None,
                )
                if given.show_status:
                    return f"HTTP/1.1 {response.status_code} {response.reason_phrase}\n"
                if response.is_success:
                    return f"{response.text}\n"
                assert time.monotonic() < deadline, f"{method} {given.url}: {response.status_code} {response.text}"
                time.sleep(0.05)


def commands_of(page: str) -> list[list[str]]:
    """Return all commands of a page."""
    found = (block for block in blocks(ROOT / "docs" / page) if block.language in ("console", "sh"))
    return [words for block in found for words in commands(block)]


def last(pattern: str) -> Callable[[str], str]:
    """Return a function that finds the last match of a pattern: its group."""
    return lambda printed: re.findall(pattern, printed)[-1]

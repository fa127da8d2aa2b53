"""The documentation site: every page is in it, every link leads somewhere, and it works without other hosts."""

import contextlib
import functools
import importlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import rich_click as click
from playwright.async_api import Browser, Page, expect

from docs.site import build
from docs.site.publish import publish
from docs.site.reference import CLI, anchor, commands, generated_pages, openapi
from idp.cli.main import COMMANDS
from tests.support.chromium import chromium

__all__ = ["chromium"]

ROOT = Path(__file__).parents[2]
VERSION = "1.2.3"
#: A Chromium of a user who has set the dark scheme, on a desktop, and of one with the light scheme on a phone.
READERS = [("dark", 1280), ("light", 390)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this version of the site and an older one."""
    pytest.importorskip("zensical", reason="Not in this environment. Run make check once.")
    site, folder = tmp_path_factory.mktemp("site") / "built", tmp_path_factory.mktemp("published")
    build.build(site, version=VERSION, source_url="https://forge.example/idp/blob/v1.2.3")
    for version in ("1.2.0", VERSION, "0.10.0"):
        publish(site, folder, version)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and prints nothing."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def url(published: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(published))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(params=READERS, ids=["dark desktop", "light phone"])
async def page(request: pytest.FixtureRequest, chromium: Browser, url: str) -> AsyncIterator[Page]:
    """A browser that fails the test for a request to another host, and for one that is not answered with a file."""
    scheme, width = request.param
    size = {"width": width, "height": 800}
    context = await chromium.new_context(viewport=size, color_scheme=scheme, base_url=url)  # type: ignore[arg-type]
    page, wrong = await context.new_page(), list[str]()
    page.on("request", lambda sent: sent.url.startswith((url, "data:", "blob:")) or wrong.append(sent.url))
    page.on("response", lambda found: found.status < 400 or wrong.append(f"{found.status} {found.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    await context.close()
    assert wrong == []


def test_every_page_is_in_the_navigation_once(tmp_path: Path) -> None:
    named = list(build.pages_of(build.stage(tmp_path)))
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert sorted(named) == sorted(written), "List the page in docs/index.md."


def test_links_out_of_the_site_lead_to_the_source(tmp_path: Path) -> None:
    build.stage(tmp_path, "https://forge.example/blob/v1")
    assert "(https://forge.example/blob/v1/deploy/prometheus/rules.yml)" in (tmp_path / "metrics.md").read_text()
    build.stage(tmp_path)
    assert "rules.yml`](" not in (tmp_path / "metrics.md").read_text()
    assert "- [Security](security.md)" in (tmp_path / "index.md").read_text()


@pytest.mark.parametrize("link", ["none.md", "index.md#none"])
def test_a_broken_link_stops_the_build(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zensical", reason="Not in this environment. Run make check once.")

    def stage(folder: Path, _source_url: str | None) -> list[str]:
        folder.mkdir()
        (folder / "index.md").write_text(f"# Title\n\n[a link]({link})\n")
        return ["index.md"]

    monkeypatch.setattr(build, "stage", stage)
    with pytest.raises(subprocess.CalledProcessError):
        build.build(tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_every_command_is_in_the_reference() -> None:
    pages = generated_pages()
    for name, (_, place) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        text = pages[f"{CLI}/{name}.md"].text
        for path, command in commands(getattr(importlib.import_module(module), attribute), name):
            assert command.hidden or re.search(rf"^#+ idp {path}$", text, re.MULTILINE), path
            options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
            assert [option.opts[0] for option in options if option.opts[0] not in text] == []


def test_every_operation_and_model_is_in_the_reference() -> None:
    text = "".join(page.text for page in generated_pages().values())
    for path, operations in openapi()["paths"].items():
        assert {method for method in operations if f"\n{method.upper()} {path}\n" not in text} == set()
    assert [name for name in openapi()["components"]["schemas"] if f"{{ #{anchor(name)} }}" not in text] == []


def test_versions_are_listed_newest_first(published: Path, tmp_path: Path) -> None:
    listed = re.findall(r'"version": "([\d.]+)"', (published / "versions.json").read_text())
    assert listed == ["1.2.3", "1.2.0", "0.10.0"]
    assert 'href="1.2.3/"' in (published / "index.html").read_text()
    with pytest.raises(ValueError, match="three numbers"):
        publish(published / VERSION, tmp_path, "../1")


async def _search(page: Page, words: str) -> None:
    """Press the key of the search until the script that listens for it is there, and type."""
    field = page.get_by_role("combobox", name="Search")
    for _ in range(60):
        await page.keyboard.press("Control+k")
        with contextlib.suppress(AssertionError):
            await expect(field).to_be_visible(timeout=500)
            break
    await field.fill(words)


def _git(folder: Path, *words: str) -> str:
    given = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", *words]
    return subprocess.run(["git", *given], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_versions_are_published_on_a_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first version makes the branch; the second one keeps the first."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")
    remote, checkout = tmp_path / "remote", tmp_path / "checkout"
    for name in (".ci/publish-docs", "docs/site/publish.py"):
        (checkout / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, checkout / name)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (checkout / "site").mkdir()
    _git(tmp_path, "init", "--quiet", "--bare", str(remote))
    _git(checkout, "init", "--quiet")
    _git(checkout, "add", ".ci", "docs")
    _git(checkout, "commit", "--quiet", "--message", "Begin here")
    _git(checkout, "remote", "add", "origin", str(remote))
    for version in ("1.0.0", "1.1.0"):
        (checkout / "site" / "index.html").write_text(version)
        subprocess.run([checkout / ".ci/publish-docs", version], check=True)
    files = set(_git(remote, "ls-tree", "-r", "--name-only", "gh-pages").splitlines())
    assert files == {".nojekyll", "1.0.0/index.html", "1.1.0/index.html", "index.html", "versions.json"}
    assert _git(remote, "show", "gh-pages:1.0.0/index.html") == "1.0.0"
    assert "worktree" not in _git(checkout, "worktree", "list").replace(str(checkout), "")


@pytest.mark.browser
async def test_a_reader_finds_a_page(page: Page) -> None:
    """By the newest version, the search and the navigation; and chooses another version."""
    await page.goto("")
    await expect(page.locator("h1")).to_contain_text("Documentation of idp")
    assert "/1.2.3/" in page.url
    dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    await expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate" if dark else "default")
    for path in ("accounts/", "reference/admin-api/models/", "settings/", "decisions/"):
        await page.goto(f"{VERSION}/{path}")
        # Nothing but tables and code scrolls sideways.
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    picture = f"#only-{'dark' if dark else 'light'}"
    await page.goto(f"{VERSION}/accounts/")
    await expect(page.locator(f"img[src$='{picture}']").first).to_be_visible()
    await _search(page, "audit checkpoint")
    found = page.locator("a[href*='/audit/']").filter(visible=True).first
    await expect(found).to_be_visible(timeout=30_000)
    await expect(page.locator(".md-version__current")).to_contain_text(VERSION)
    await expect(page.locator(".md-version__link")).to_have_count(3)

"""Builds the documentation site: `make docs` writes it to site/.

The pages are docs/*.md as the forge shows them, the changelog and its neighbours, and a reference that is made from the
code (:mod:`docs.site.reference`). docs/index.md is the navigation: a heading is a tab, a heading below it a group, a
list item a page.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from docs.site.publish import LATEST
from docs.site.reference import GENERATED, OPENAPI, Page, generated_pages, openapi
from idp import __version__

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]

#: Pages that stand at the root of the repository.
PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_PICTURE = re.compile(r'<picture>\s*<source media="[^"]*" srcset="([^"]*)">\s*(<img [^>]*>)\s*</picture>')
_IMAGE = re.compile(r'<img alt="([^"]*)" src="([^"]*)" width="(\d+)">')
_ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)]+)\)")
_DECISION = re.compile(r"^\| \[(\d{4})\]\((\S+\.md)\) \| (.*?) \|$", re.MULTILINE)


def sources() -> dict[str, Path]:
    """Return the pages and other files of the site: the path in the site, and the file."""
    docs = ROOT / "docs"
    files = [*docs.glob("*.*"), *docs.glob("decisions/*.md"), *docs.glob("images/*.png"), *docs.glob("images/*.jpg")]
    found = {file.relative_to(docs).as_posix().replace("README.md", "index.md"): file for file in files}
    return found | {name.lower(): ROOT / name for name in PROJECT} | {"site.css": FOLDER / "site.css"}


def for_the_site(text: str, place: str, file: Path, places: dict[Path, str], source_url: str | None) -> str:
    """Return a page with links and pictures that work in the site.

    Args:
        place: where the page stands in the site.
        file: the page in the repository.
        places: where other files stand in the site.
        source_url: the URL of the repository's files; without it, a link to one of them becomes its text.
    """

    def link(found: re.Match[str]) -> str:
        label, (path, sharp, anchor) = found[1], found[2].partition("#")
        if ":" in path or not path:
            return found[0]
        target = (file.parent / path).resolve()
        if (target / "README.md") in places:
            target /= "README.md"
        if target in places:
            return f"[{label}]({os.path.relpath(places[target], PurePosixPath(place).parent)}{sharp}{anchor})"
        return f"[{label}]({source_url}/{target.relative_to(ROOT).as_posix()}{sharp}{anchor})" if source_url else label

    def picture(found: re.Match[str]) -> str:
        light = _image(found[2], "#only-light")
        return light + light.replace("-light.png#only-light", "-dark.png#only-dark")

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(link, _images(_PICTURE.sub(picture, part))) for part in parts[::2]]
    return "".join(parts)


def _images(text: str) -> str:
    return _IMAGE.sub(lambda found: _image(found[0], ""), text)


def _image(tag: str, scheme: str) -> str:
    found = _IMAGE.fullmatch(tag)
    if found is None:
        raise ValueError(f"An image is written in another way than the others: {tag}")
    return f'![{" ".join(found[1].split())}]({found[2]}{scheme}){{ width="{found[3]}" }}'


def navigation(index: str, below: dict[str, list[Any]]) -> list[Any]:
    """Return the navigation that docs/index.md describes.

    Args:
        below: the entries below a page that has a folder of its own.
    """
    tabs: list[Any] = [{"Home": "index.md"}]
    tab, group = "", list[Any]()
    for line in index.splitlines():
        if line.startswith("## "):
            tab, group = line[3:], []
            tabs.append({tab: group})
        elif line.startswith("### "):
            group = []
            tabs[-1][tab].append({line[4:]: group})
        elif found := _ITEM.match(line):
            title, path = found[1], found[2].replace("README.md", "index.md").replace("../", "")
            place = path.lower() if path in PROJECT else path
            entries = [place, *below.get(place, ())]
            if title == tab:
                group.extend(entries)
            else:
                group.append({title: entries if place in below else place})
    return tabs


def _below(pages: dict[str, Page], decisions: str) -> dict[str, list[Any]]:
    """Return the entries below the list of decisions, and below the pages that are made from the code."""
    found: dict[str, list[Any]] = {
        "decisions/index.md": [
            {f"{number} {title.replace('`', '')}": f"decisions/{name}"}
            for number, name, title in _DECISION.findall(decisions)
        ]
    }
    for place, page in pages.items():
        if not place.endswith("index.md"):
            found.setdefault(f"{PurePosixPath(place).parent}/index.md", []).append({page.title: place})
    return found


def _with_generated(index: str, pages: dict[str, Page]) -> str:
    """Return docs/index.md with the pages that are made from the code."""
    items = "".join(
        f"- [{page.title}]({path}): {page.about}\n" for path, page in pages.items() if path.endswith("index.md")
    )
    return index.replace(f"{GENERATED}\n", items)


def stage(folder: Path, source_url: str | None = None) -> list[Any]:
    """Write the pages into a folder. Returns the navigation."""
    files, pages = sources(), generated_pages()
    places = {file.resolve(): place for place, file in files.items()}
    index = _with_generated((ROOT / "docs" / "index.md").read_text(), pages)
    for place, file in files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            text = index if place == "index.md" else file.read_text()
            target.write_text(for_the_site(text, place, file, places, source_url))
        else:
            shutil.copyfile(file, target)
    for place, page in pages.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page.text)
    (folder / OPENAPI).write_text(json.dumps(openapi()))
    return navigation(index, _below(pages, (ROOT / "docs" / "decisions" / "README.md").read_text()))


def pages_of(navigation: list[Any]) -> Iterator[str]:
    """Return the pages that a navigation names."""
    for entry in navigation:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from pages_of(value) if isinstance(value, list) else [value]


def build(
    site: Path, *, version: str | None = None, site_url: str | None = None, source_url: str | None = None
) -> None:
    """Write the site into a folder.

    Args:
        version: the version that this site is one of; it then offers the others, by ``../versions.json``.
        site_url, source_url: the address of the site, and that of the repository's files.

    Raises:
        subprocess.CalledProcessError: a link leads nowhere, or another warning.
    """
    with tempfile.TemporaryDirectory(prefix="idp-docs-") as name:
        folder = Path(name)
        configuration = yaml.safe_load((FOLDER / "mkdocs.yml").read_text())
        configuration["nav"] = stage(folder / "docs", source_url)
        configuration["copyright"] = f"idp {__version__}, MIT licence"
        if site_url:
            configuration["site_url"] = site_url
        if version:
            configuration["extra"] = {"version": {"provider": "mike", "default": LATEST}}
        (folder / "mkdocs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))
        program = [sys.executable, "-m", "zensical", "build", "--strict"]
        subprocess.run(program, cwd=folder, check=True, env=os.environ | {"NO_COLOR": "1"})
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(folder / "site", site)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "site", help="the folder to write")
    parser.add_argument("--version", help="build for this version among others")
    parser.add_argument("--site-url", help="where the site will be")
    parser.add_argument("--source-url", help="where the files of the repository are, for links to them")
    given = parser.parse_args()
    try:
        build(given.site, version=given.version, site_url=given.site_url, source_url=given.source_url)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    print(f"The site is in {given.site}: {(given.site / 'index.html').as_uri()}")


if __name__ == "__main__":
    main()

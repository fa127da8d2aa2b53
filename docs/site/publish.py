"""Adds a built site to the versions that are published: `python -m docs.site.publish SITE FOLDER VERSION`.

FOLDER/<version>/ has the site of each version, FOLDER/versions.json lists them for the selector in the header, and
FOLDER/index.html leads to the newest one.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

LATEST = "latest"
_INDEX = """<!doctype html>
<meta charset="utf-8">
<title>Documentation of idp</title>
<meta http-equiv="refresh" content="0; url={version}/">
<a href="{version}/">Documentation of idp {version}</a>
"""


def publish(site: Path, folder: Path, version: str) -> None:
    """Add a site, or replace that of the same version.

    Args:
        version: three numbers with dots.

    Raises:
        ValueError: the version has another form.
    """
    if re.fullmatch(r"\d+\.\d+\.\d+", version) is None:
        raise ValueError(f"A version is three numbers with dots, unlike {version}.")
    shutil.rmtree(folder / version, ignore_errors=True)
    shutil.copytree(site, folder / version)
    versions = sorted((path.parent.name for path in folder.glob("*.*.*/index.html")), key=_numbers, reverse=True)
    listed = [{"version": each, "title": each, "aliases": [LATEST] if each == versions[0] else []} for each in versions]
    (folder / "versions.json").write_text(json.dumps(listed, indent=1))
    (folder / "index.html").write_text(_INDEX.format(version=versions[0]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("version")
    given = parser.parse_args()
    publish(given.site, given.folder, given.version)


if __name__ == "__main__":
    main()

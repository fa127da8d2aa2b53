"""The files in which the workers of one server count.

Each worker has a place, a number that it keeps until it ends. A worker that replaces a crashed one takes its place, and
counts on in the same files: no counter is lost, and there are never more files than places.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from shutil import rmtree

#: The variable in which the library expects the folder.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_folder() -> Iterator[None]:
    """Create the folder for the workers that are started in this block, and delete it at the end.

    Raises:
        OSError: there is no place for temporary files.
    """
    path = tempfile.mkdtemp(prefix="idp-metrics-")
    os.environ[VARIABLE] = path
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        rmtree(path, ignore_errors=True)


def folder() -> Path:
    """Return the folder of this server."""
    return Path(os.environ[VARIABLE])


def locked(name: str) -> int | None:
    """Lock a file of the folder until this process ends. Returns its descriptor; None if another process has it."""
    descriptor = os.open(folder() / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_place() -> int:
    """Take the first free place."""
    return next(place for place in count() if locked(f"place-{place}") is not None)

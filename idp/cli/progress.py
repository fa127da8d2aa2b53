"""The progress of long work: a bar on a terminal, and nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Tell(Protocol):
    """Says how much is done."""

    def __call__(
        self, done: float | None = None, *, total: float | None = None, description: str | None = None
    ) -> None: ...


@contextmanager
def progress(description: str, total: float | None = None, *, hidden: bool = False) -> Iterator[Tell]:
    """Show a bar on the error output until the work ends. Without a total it only moves.

    Args:
        hidden: show nothing on a terminal either, because the result is written there.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    off = hidden or not console.is_terminal
    # The result goes to the standard output, not to where the bar is.
    with Progress(*columns, console=console, disable=off, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(description, total=total)

        def tell(done: float | None = None, *, total: float | None = None, description: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=description)

        yield tell

"""``python -m bench.imports``: the memory that `idp serve` spends on imports, by package.

It is that of a module without the modules that it imports. For the time there is ``python -X importtime``.
"""

import gc
import sys
from collections import Counter
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from types import ModuleType

#: Packages with less memory than this are shown together, in MiB.
LEAST = 0.3


class Imports:
    """Sums up what is spent while modules are executed.

    Attributes:
        memory: KiB of memory that no file backs, by package.
        modules: their number by package.
    """

    def __init__(self) -> None:
        self.memory: Counter[str] = Counter()
        self.modules: Counter[str] = Counter()
        #: What the modules cost that were imported by each of those that are executed now.
        self._below: list[int] = []

    def watch(self, loader: type[SourceFileLoader] | type[ExtensionFileLoader]) -> None:
        """Count the modules of a loader from now on."""
        original = loader.exec_module

        def exec_module(this: SourceFileLoader | ExtensionFileLoader, module: ModuleType) -> None:
            before = anonymous()
            self._below.append(0)
            try:
                original(this, module)  # type: ignore[arg-type]
            finally:
                self._add(module.__name__, anonymous() - before)

        loader.exec_module = exec_module  # type: ignore[assignment]

    def _add(self, module: str, memory: int) -> None:
        package = module.partition(".")[0]
        if package in sys.stdlib_module_names:
            package = "Python's library"
        self.memory[package] += memory - self._below.pop()
        self.modules[package] += 1
        if self._below:
            self._below[-1] += memory


def anonymous() -> int:
    """Return the memory of this process that no file backs, in KiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def main() -> None:
    gc.disable()
    found, before = Imports(), anonymous()
    for loader in (SourceFileLoader, ExtensionFileLoader):
        found.watch(loader)
    import granian.server.mp  # noqa: F401
    import uvloop  # noqa: F401

    import idp.app
    import idp.cli.serve  # noqa: F401

    print(f"{'package':24}{'modules':>9}{'MiB':>8}")
    for name, kib in found.memory.most_common():
        if kib >= LEAST * 1024:
            print(f"{name:24}{found.modules[name]:9}{kib / 1024:8.1f}")
    few = [name for name, kib in found.memory.items() if kib < LEAST * 1024]
    modules, kib = sum(found.modules[name] for name in few), sum(found.memory[name] for name in few)
    print(f"{f'{len(few)} others':24}{modules:9}{kib / 1024:8.1f}")
    print(f"{'all':24}{found.modules.total():9}{(anonymous() - before) / 1024:8.1f}")


if __name__ == "__main__":
    main()

"""Declarations of metrics. Until :func:`create_all` is called, counting does nothing.

The values of labels come from lists in the code, never from a request: each new combination is kept for ever.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from idp.infra.observers import observing

#: Upper bounds of durations, in seconds.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metric(ABC):
    """A declared metric.

    Args:
        name: by the conventions of OpenMetrics: the prefix ``idp_``, base units, no ``_total``.
        help: one sentence.
        labels: the names of its labels.
    """

    #: All metrics, by name.
    declared: ClassVar[dict[str, "Metric"]] = {}
    #: The type in the exposition format.
    kind: ClassVar[str]

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self._live: Any = None
        assert self.declared.setdefault(name, self) is self, name  # noqa: S101 -- a mistake of the developer

    def create(self, registry: Any) -> None:
        """Create the metric of the library in a registry."""
        self._live = self._create(registry)

    @abstractmethod
    def _create(self, registry: Any) -> Any: ...

    def _do(self, act: str, number: float, values: tuple[str, ...]) -> None:
        if self._live is not None:
            # A file that cannot grow, for example. What is measured must not fail for it.
            with observing("metrics"):
                getattr(self._live.labels(*values) if self.labels else self._live, act)(number)


class Counter(Metric):
    """A number that only increases. Its samples have the suffix ``_total``."""

    kind = "counter"

    def _create(self, registry: Any) -> Any:
        from prometheus_client import Counter as Library

        return Library(self.name, self.help, self.labels, registry=registry)

    def add(self, *values: str, amount: float = 1) -> None:
        """Increase it, for these values of the labels."""
        self._do("inc", amount, values)


class Histogram(Metric):
    """Durations in seconds, counted by their upper bounds."""

    kind = "histogram"

    def _create(self, registry: Any) -> Any:
        from prometheus_client import Histogram as Library

        return Library(self.name, self.help, self.labels, buckets=DURATIONS, registry=registry)

    def observe(self, seconds: float, *values: str) -> None:
        """Count a duration, for these values of the labels."""
        self._do("observe", seconds, values)


class Gauge(Metric):
    """A number that goes up and down.

    Args:
        mode: how the values of the workers are combined: ``livesum``, ``livemin``, ``livemax``, or ``mostrecent`` for
            what one worker reads for all.
    """

    kind = "gauge"

    def __init__(self, name: str, help: str, *labels: str, mode: str) -> None:
        super().__init__(name, help, *labels)
        self.mode = mode

    def _create(self, registry: Any) -> Any:
        from prometheus_client import Gauge as Library

        return Library(self.name, self.help, self.labels, registry=registry, multiprocess_mode=self.mode)  # type: ignore[arg-type]

    def set(self, value: float, *values: str) -> None:
        """Set it, for these values of the labels."""
        self._do("set", value, values)


def create_all(registry: Any) -> None:
    """Create every declared metric. From now on they count."""
    for metric in Metric.declared.values():
        metric.create(registry)

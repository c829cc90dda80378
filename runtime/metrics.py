"""The metrics, declared in one table: what is not declared here cannot be counted."""

from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MetricKind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """One metric: its name, what it counts (with the unit), and its labels."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120)


METRICS: Final = (
    Metric("pagestream_steps", "counter", "Steps committed, by phase.", ("phase",)),
    Metric("pagestream_pages_published", "counter", "Pages published to the topic."),
    Metric("pagestream_requests_failed", "counter", "Source requests failed.", ("reason",)),
    Metric("pagestream_request_seconds", "histogram", "Seconds of one source request."),
    Metric("pagestream_limiter_wait_seconds", "counter", "Seconds waited for the request limit."),
    Metric("pagestream_source_refusals", "counter", "Requests the source refused as too many."),
    Metric("pagestream_source_refusals_in_a_row", "gauge", "Such refusals since one was taken."),
    Metric("pagestream_transaction_seconds", "histogram", "Seconds of one Kafka transaction."),
    Metric("pagestream_recoveries", "counter", "Transactions given up and begun anew."),
    Metric("pagestream_owned_partitions", "gauge", "Partitions this process owns.", ("topic",)),
    Metric("pagestream_restore_seconds", "histogram", "Seconds to restore state on assignment."),
    Metric("pagestream_records_applied", "counter", "Records applied, by topic.", ("topic",)),
    Metric("pagestream_rows_written", "counter", "Pages written, by what changed.", ("change",)),
    Metric("pagestream_batch_seconds", "histogram", "Seconds of one database transaction."),
    Metric("pagestream_dead_letters", "counter", "Records dead-lettered.", ("found_by", "reason")),
    Metric("pagestream_database_retries", "counter", "Batches begun again after an outage."),
)


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._declared = {metric.name: metric for metric in METRICS}
        self._collectors = {metric.name: self._collector(metric) for metric in METRICS}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter; KeyError for an undeclared name, ValueError for undeclared labels."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Counter):
            raise TypeError(f"{name} is a {self._declared[name].kind}, not a counter")
        collector.inc(amount)

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge; raises like `add`."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Gauge):
            raise TypeError(f"{name} is a {self._declared[name].kind}, not a gauge")
        collector.set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram; raises like `add`."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Histogram):
            raise TypeError(f"{name} is a {self._declared[name].kind}, not a histogram")
        collector.observe(value)

    def _labelled(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        collector = self._collectors[name]
        return collector.labels(**labels) if labels else collector

    def _collector(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind == "counter":
            return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)
        if metric.kind == "gauge":
            return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)
        return Histogram(
            metric.name,
            metric.meaning,
            metric.labels,
            registry=self.registry,
            buckets=metric.buckets,
        )

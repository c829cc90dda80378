"""Metrics: declared in one table, and nothing else can be counted."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest

import runtime
from runtime.metrics import METRICS, Metric, Metrics

ROOT: Final = Path(runtime.__file__).parents[1]
PACKAGES: Final = ("runtime", "producer", "consumers", "pagestream")

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def labels_of(metric: Metric) -> dict[str, str]:
    return dict.fromkeys(metric.labels, "x")


def verbs_of(metrics: Metrics) -> dict[str, Callable[..., None]]:
    return {"counter": metrics.add, "gauge": metrics.put, "histogram": metrics.observe}


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


@each_metric
def test_a_metric_can_be_counted_and_is_exposed(metric: Metric) -> None:
    metrics = Metrics()
    verbs_of(metrics)[metric.kind](metric.name, 2, **labels_of(metric))

    suffix = {"counter": "_total", "gauge": "", "histogram": "_sum"}[metric.kind]
    labels = ",".join(f'{name}="x"' for name in sorted(metric.labels))
    shown = f"{metric.name}{suffix}{{{labels}}}" if labels else f"{metric.name}{suffix}"
    assert f"\n{shown} 2.0\n" in exposed(metrics)


@each_metric
def test_a_metric_says_what_it_counts(metric: Metric) -> None:
    assert re.fullmatch(r"pagestream_[a-z_]+[a-z]", metric.name)
    assert not metric.name.endswith("_total")
    assert metric.meaning.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))


@each_metric
def test_only_the_verb_of_its_kind_counts_a_metric(metric: Metric) -> None:
    metrics = Metrics()
    for kind, verb in verbs_of(metrics).items():
        if kind != metric.kind:
            with pytest.raises(TypeError, match=f"is a {metric.kind}, not a {kind}"):
                verb(metric.name, 1, **labels_of(metric))


def test_an_undeclared_metric_raises() -> None:
    metrics = Metrics()
    for verb in (metrics.add, metrics.put, metrics.observe):
        with pytest.raises(KeyError, match="pagestream_undeclared"):
            verb("pagestream_undeclared", 1)


def test_undeclared_or_missing_labels_raise() -> None:
    metrics = Metrics()
    for labels in ({}, {"stage": "pages"}, {"phase": "pages", "site": "alameda.ca"}):
        with pytest.raises(ValueError, match=r"label|Incorrect"):
            metrics.add("pagestream_steps", 1, **labels)
    with pytest.raises(ValueError, match="label"):
        metrics.add("pagestream_pages_published", 1, phase="pages")


def test_each_process_counts_for_itself() -> None:
    one, other = Metrics(), Metrics()
    one.add("pagestream_pages_published", 7)

    assert "pagestream_pages_published_total 7.0" in exposed(one)
    assert "pagestream_pages_published_total 0.0" in exposed(other)


def test_names_are_declared_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_every_metric_is_counted_somewhere_and_no_other_is() -> None:
    code = "".join(
        path.read_text()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "metrics.py"
    )
    counted = set(re.findall(r"\.(?:add|put|observe)\(\s*\"(pagestream_[a-z_]+)\"", code))

    assert counted == {metric.name for metric in METRICS}

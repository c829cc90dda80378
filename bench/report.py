"""The results as a page that people read: `docs/performance.md` holds it between its marks."""

from itertools import groupby

from bench.results import Figure, Results


def render(results: Results) -> str:
    """Return the tables, one a part, below a description of the machine."""
    machine = results.machine
    lines = [
        (
            f"Measured on {results.at}: {machine.processor}, {machine.cores} cores, "
            f"{machine.gigabytes} GB, {machine.system}; Python {machine.python}, confluent-kafka "
            f"{machine.confluent_kafka}, Kafka {machine.kafka}, PostgreSQL {machine.postgresql}, "
            f"Datasette {machine.datasette}. All servers and roles shared it. "
            f"{results.pages:,} pages of {results.page_bytes:,} bytes."
        ),
    ]
    for part, figures in groupby(results.figures, key=lambda figure: figure.part):
        lines += ["", f"## {part}", "", "| | median | lowest | highest | wanted |"]
        lines += ["| --- | ---: | ---: | ---: | --- |", *map(_row, figures)]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    low, high = min(figure.values), max(figure.values)
    name = figure.name if figure.of == "median" else f"{figure.name}, 95 of 100"
    shown = " | ".join(_number(value, figure) for value in (figure.value, low, high))
    return f"| {name} | {shown} | {_wanted(figure)} |"


def _number(value: float, figure: Figure) -> str:
    match figure.unit:
        case "ratio":
            return f"{value:.2f}"
        case "s":
            return f"{value:.1f} s"
        case _:
            return f"{value:,.0f} {figure.unit}"


def _wanted(figure: Figure) -> str:
    if figure.reached is None:
        return ""
    word = "reached" if figure.reached else "**missed**"
    if figure.at_least is not None:
        return f"at least {_number(figure.at_least, figure)}: {word}"
    return f"at most {_number(figure.at_most or 0, figure)}: {word}"

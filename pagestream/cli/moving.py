"""Something that moves on a terminal: drawn again and again in one place, and nowhere else."""

from typing import Final, Self

from rich.console import RenderableType
from rich.live import Live

from pagestream.cli.screen import remarks

_DRAWN_EACH_SECOND: Final = 10


class Moving:
    """What is drawn in one place of stderr between entry and exit. A context manager.

    Where stderr is no terminal it does not `move`: nothing is drawn, and lines are the way to tell.
    `transient` has it wiped off in the end.
    """

    def __init__(self, *, transient: bool) -> None:
        console = remarks()
        self._moves: Final = console.is_terminal
        self._live = Live(
            console=console, refresh_per_second=_DRAWN_EACH_SECOND, transient=transient
        )

    def __enter__(self) -> Self:
        if self._moves:
            self._live.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._moves:
            self._live.stop()

    def _draw(self, picture: RenderableType) -> None:
        self._live.update(picture)

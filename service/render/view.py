"""What a format may be told besides the review: where it will be shown and which diff lines it may quote."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TextIO

from review_data.domain import Review
from service.render.excerpt import Excerpts

PLAIN_WIDTH: Final = 100
_WIDEST: Final = 120
_NARROWEST: Final = 40


@dataclass(frozen=True)
class Screen:
    """What the output's reader can show: ANSI colours, and how many columns."""

    color: bool = False
    width: int = PLAIN_WIDTH

    @classmethod
    def of(cls, stream: TextIO, env: Mapping[str, str] | None = None) -> Screen:
        """What `stream` can show. `NO_COLOR` and `TERM=dumb` switch colours off (https://no-color.org)."""
        env = os.environ if env is None else env
        if not stream.isatty():
            return cls()
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            columns = 0
        width = min(_WIDEST, max(_NARROWEST, columns or PLAIN_WIDTH))
        return cls(color=not env.get("NO_COLOR") and env.get("TERM") != "dumb", width=width)


@dataclass(frozen=True)
class View:
    """How to show a review: excerpts to quote from, whether hidden findings are listed, the screen."""

    excerpts: Excerpts = field(default_factory=Excerpts)
    verbose: bool = False
    screen: Screen = Screen()


Renderer = Callable[[Review, View], str]

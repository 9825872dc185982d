"""The network in a process of its own, which `apart` starts: `python -m ... FOLDER MAX_TOKENS fused|plain`.

Each line that comes in is a JSON list of [text, context], each that goes out one of their logits. It ends
with its input; what goes wrong ends it with a status other than 0, and is reported by who started it.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import NamedTuple

from service.backends.embedded.inference import Network


class Shown(NamedTuple):
    """What `review_data.rater_input.RaterInput` holds, without the cost of importing it."""

    text: str
    context: str


def main(folder: str, max_tokens: str, kind: str) -> None:
    """Loads the network and answers until the input ends."""
    gc.disable()
    network = Network.load(Path(folder), int(max_tokens), fused=kind == "fused")
    for line in sys.stdin:
        rows = network.logits([Shown(*pair) for pair in json.loads(line)])
        sys.stdout.write(json.dumps(rows) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

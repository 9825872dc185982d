"""The shipped rater beside its baselines: agreement with the teacher, latency, and load time.

    python bench/rater.py                              # majority, TF-IDF, base zero-shot, the shipped model
    python bench/rater.py --split validation           # choices are made there; test is for one report
    python bench/rater.py --run frozen=runs/frozen --run full=runs/full     # more run folders' models
    python bench/rater.py --card FOLDER        # also writes the tables into that model folder's card
    python bench/rater.py --data FILE.jsonl            # other people's rows instead of the packaged split

A run folder comes from `terazi train severity --out FOLDER` (`--method head` freezes the base, `--method
full` trains every weight). TF-IDF with logistic regression is the scikit-learn rater, on title or comment
alone. Zero-shot picks the level whose rubric text is nearest to the title in the base's embedding space.
 Intervals: 95%, bootstrap over records. Latency: one core, one issue after another, as served.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from finetune.severity.examples import Example
    from review_data.domain import Probabilities
    from review_data.severity import Severity

    Rated = list[tuple[Severity, Probabilities | None]]
    Rate = Callable[[Sequence[Example]], Rated]

SHOWN = ("accuracy", "macro_f1", "quadratic_kappa", "severe_recall", "calibration_error")


def main() -> None:
    """Prints a Markdown table per part, then the shipped model's times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--data", type=Path, help="labelled JSONL instead of the packaged split")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--card", type=Path, help="model folder whose card gets the tables")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raters: dict[str, Rate] = {
        "majority": majority(),
        "TF-IDF + logistic regression": tfidf(),
        "base zero-shot (nearest rubric text)": zero_shot(),
        **{name: exported(Path(folder) / "model") for name, folder in (r.split("=", 1) for r in args.run)},
        "shipped model (int8 ONNX)": exported(None),
    }
    tables = {}
    for part, rows in parts(args.split, args.data).items():
        tables[f"{part}, {args.split} split, {len(rows)} rows"] = table(part, rows, raters)
    if args.card is not None:
        write_card(args.card, tables)
    times(parts(args.split, args.data))


def parts(split: str, data: Path | None) -> dict[str, list[Example]]:
    """Labelled rows by part."""
    from finetune.severity.examples import comment_examples, merge_request_examples, packaged_examples
    from review_data.dataset import LabelledComment, load_any

    if data is None:
        rows = packaged_examples("test" if split == "test" else "validation")
        return {name: [r for r in rows if r.source == name] for name in ("merge_requests", "comments")}
    found = load_any(data)
    if isinstance(found[0], LabelledComment):
        return {data.name: comment_examples(found, "comments")}  # type: ignore[arg-type]
    return {data.name: merge_request_examples(found)}  # type: ignore[arg-type]


def table(part: str, rows: Sequence[Example], raters: dict[str, Rate]) -> list[dict[str, str]]:
    """Prints and returns one row per rater, each score with its interval."""
    from finetune.severity_metrics import severity_intervals

    truth = [row.severity for row in rows]
    print(f"\n{part}, {len(rows)} rows\n\n| rater | " + " | ".join(SHOWN) + " |")
    print("| --- |" + " --- |" * len(SHOWN))
    shown = []
    for name, rate in raters.items():
        rated = rate(rows)
        found = severity_intervals(
            truth, [level for level, _ in rated], [p for _, p in rated], [row.record for row in rows]
        )
        cells = {score.replace("_", " "): interval(found[score]) for score in SHOWN}
        print(f"| {name} | " + " | ".join(cells.values()) + " |", flush=True)
        shown.append({"rater": name, **cells})
    return shown


def write_card(folder: Path, tables: dict[str, list[dict[str, str]]]) -> None:
    """Puts the tables into the folder's manifest and its card."""
    from finetune.severity import export, report
    from service.backends.embedded.severity_model import read_manifest

    manifest = read_manifest(folder).model_copy(update={"comparison": tables})
    export.write_manifest(folder, manifest)
    report.write_card(folder, manifest)


def interval(found: object) -> str:
    """As "0.72 [0.63, 0.80]"."""
    value, low, high = (getattr(found, name) for name in ("value", "low", "high"))
    return "–" if value is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def majority() -> Rate:
    """The training rows' commonest level, whatever is asked."""
    from finetune.severity.examples import packaged_examples

    level = Counter(row.severity for row in packaged_examples("train")).most_common(1)[0][0]
    return lambda rows: [(level, None) for _ in rows]


def tfidf() -> Rate:
    """Words and word pairs of the title or comment, weighted, into a logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from finetune.severity.examples import packaged_examples
    from review_data.domain import Probabilities
    from review_data.severity import Severity

    train = packaged_examples("train")
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10, class_weight="balanced", max_iter=2000),
    ).fit([row.fields.text for row in train], [row.severity.rank for row in train])

    def rate(rows: Sequence[Example]) -> Rated:
        chances = [Probabilities.of(row) for row in model.predict_proba([r.fields.text for r in rows])]
        return [(Severity.from_rank(chance.most_likely().rank), chance) for chance in chances]

    return rate


def zero_shot() -> Rate:
    """The level whose definition and examples are nearest in the untrained base's space."""
    import torch

    from finetune.severity import network
    from finetune.severity.config import TrainConfig
    from review_data.rater_input import RaterInput
    from review_data.severity import DEFINITIONS, SEVERITIES
    from service.backends.embedded.encoding import Encoder

    folder = network.resolve_base(TrainConfig())
    net, encoder = (
        network.build(TrainConfig(method="head"), folder, 1).eval(),
        Encoder.load(folder / "tokenizer.json", 192),
    )

    def embed(texts: Sequence[str]) -> torch.Tensor:
        with torch.inference_mode():
            one = [net.embed(*network.pad(encoder.encode([RaterInput(text=text)]))) for text in texts]
        return torch.nn.functional.normalize(torch.cat(one), dim=-1)

    levels = embed([f"{DEFINITIONS[s].meaning}. {DEFINITIONS[s].examples}" for s in SEVERITIES])

    def rate(rows: Sequence[Example]) -> Rated:
        nearest = (embed([row.fields.text for row in rows]) @ levels.T).argmax(1)
        return [(SEVERITIES[int(rank)], None) for rank in nearest]

    return rate


def exported(folder: Path | None) -> Rate:
    """An exported model as it is served; the packaged one for None."""
    from review_data.rater_input import render
    from service.backends.embedded.rater import EmbeddedRater

    rater = EmbeddedRater(folder) if folder else EmbeddedRater()

    def rate(rows: Sequence[Example]) -> Rated:
        rated = rater.rate_inputs([render(row.fields) for row in rows])
        return [(rating.severity, rating.probabilities) for rating in rated]

    return rate


def times(rows: dict[str, list[Example]], repeats: int = 5) -> None:
    """Load time, and milliseconds per issue on one core: medians over repeats."""
    from review_data.rater_input import render
    from service.backends.embedded.encoding import Encoder
    from service.backends.embedded.severity_model import PACKAGED, SeverityModel, read_manifest

    encoder = Encoder.load(PACKAGED / "tokenizer.json", read_manifest(PACKAGED).max_tokens)
    loads = []
    for _ in range(repeats):
        began = time.perf_counter()
        model = SeverityModel.load()
        loads.append(time.perf_counter() - began)
    print(f"\nload: {statistics.median(loads):.2f} s median of {repeats}")
    for part, examples in rows.items():
        inputs = [render(row.fields) for row in examples]
        tokens = statistics.mean(len(entry.ids) for entry in encoder.encode(inputs))
        spent = []
        for _ in range(repeats):
            began = time.perf_counter()
            model.probabilities(inputs)
            spent.append((time.perf_counter() - began) / len(inputs) * 1000)
        print(f"{part}: {statistics.median(spent):.1f} ms per issue, {tokens:.0f} tokens on average")


if __name__ == "__main__":
    main()

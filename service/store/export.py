"""Verdicts out of the database into the two files that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from review_data.dataset import LabelledComment, LabelledMergeRequest
from review_data.errors import DataError
from review_data.feedback import comment_rows, merge_request_row
from review_data.jsonl import write_jsonl
from service.store.feedback import judged


class Exported(NamedTuple):
    """How many rows of each kind were written."""

    comments: int
    merge_requests: int


def export_to(engine: Engine, folder: Path) -> Exported:
    """Writes `comments.jsonl` and `merge_requests.jsonl` into `folder`, each in one step."""
    comments: list[LabelledComment] = []
    requests: list[LabelledMergeRequest] = []
    for review in judged(engine):
        comments.extend(comment_rows(review))
        row = merge_request_row(review)
        if row is not None:
            requests.append(row)
    try:
        write_jsonl(folder / "comments.jsonl", comments)
        write_jsonl(folder / "merge_requests.jsonl", requests)
    except OSError as error:
        raise DataError(f"can't be written ({error.strerror}); choose another folder", file=folder) from error
    return Exported(len(comments), len(requests))

"""Reading what others wrote: programs in replies, printed and returned answers, packed tests."""

from __future__ import annotations

import base64
import gc
import json
import os
import pickle
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.codegen.answers import read_chat, read_last_fence
from finetune.evaluate.codegen.benchmark import Answer, Sample
from finetune.evaluate.codegen.outputs import official_printed, printed, returned
from finetune.evaluate.codegen.private_tests import unpack
from finetune.sandbox.verdict import Outcome
from review_data.errors import DataError

SQUARE = "def square(x):\n    return x * x\n"


def reply(text: str, finish: str = "stop") -> Sample:
    """A sample with that reply."""
    return Sample(task_id="t", completion=text, finish_reason=finish)


@pytest.mark.parametrize(
    ("text", "finish", "code", "outcome"),
    [
        (f"Sure.\n```python\n{SQUARE}```\nDone.", "stop", SQUARE, None),
        (f"```python\nprint(1)\n```\nthen\n```py\n{SQUARE}```", "stop", SQUARE, None),
        (f"```python\n{SQUARE}```\n```python\nassert square(2) == 4\n```", "stop", SQUARE, None),
        (f"<think>```python\nbad\n```</think>```\n{SQUARE}```", "stop", SQUARE, None),
        (f"reasoning without a start</think>\n```python\n{SQUARE}```", "stop", SQUARE, None),
        (f"```python\n{SQUARE}```\nand then a long expl", "length", SQUARE, None),
        (f"```bash\npip install x\n```\n~~~python\n{SQUARE}~~~", "stop", SQUARE, None),
        (SQUARE, "stop", SQUARE, None),
        (f"```python\n{SQUARE}", "stop", SQUARE, None),
        ("```python\ndef square(x):\n    ret", "length", "", Outcome.TRUNCATED),
        ("<think>Let me see. ```python\nprint()\n```", "length", "", Outcome.OVER_REASONING),
        ("<think>Hm.</think> Wait. <think>Again", "stop", "", Outcome.OVER_REASONING),
        ("I can't do that.", "stop", "", Outcome.NO_CODE),
        ("", "stop", "", Outcome.NO_CODE),
    ],
)
def test_the_program_is_found_wherever_it_stands(
    text: str, finish: str, code: str, outcome: Outcome | None
) -> None:
    """Thinking, several fences, other languages, missing ends: each gives the program or its own outcome."""
    answer = read_chat(reply(text, finish), "square")
    assert (answer.code, answer.outcome) == (code, outcome)


def test_programs_are_found_by_several_threads_at_once() -> None:
    """Python's parser is not safe in threads that interrupt each other, as finalizers make them do."""
    program = "def f(a):\n    return [b for b in a if b]\n" * 50
    sample = reply(f"```python\n{program}```")

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            sum(range(50))

    def read(_: int) -> Answer:
        for _ in range(10):
            Cycle()
        return read_chat(sample, "f")

    usual, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(read, range(400))) == {Answer(code=program)}
    finally:
        gc.set_threshold(*usual)
        sys.setswitchinterval(interval)


def test_the_official_extraction_takes_the_last_pair_of_fences() -> None:
    """What lies between the last two lines with a fence, whatever it is."""
    assert read_last_fence(reply("```python\na = 1\n```\n```\nb = 2\n```")).code == "b = 2"
    assert read_last_fence(reply("<think>no end", "length")).outcome is Outcome.OVER_REASONING


@pytest.mark.parametrize(
    ("out", "expected", "official", "faithful"),
    [
        ("1 2\n3\n", "1 2\n3", True, True),
        (" 1  2 \n3\n\n", "1 2\n3\n", True, True),
        ("1\n2\n", "1 2\n", False, False),
        ("0.3333333\n", "0.33333333333\n", False, True),
        ("0.334\n", "0.3333\n", False, False),
        ("2.0\n", "2\n", True, False),
        ("Yes\nYes\n", "Yes\n", False, False),
        ("nan\n", "1.5\n", False, False),
        ("", "0\n", False, False),
    ],
)
def test_printed_answers_are_compared_as_the_contest_does(
    out: str, expected: str, official: bool, faithful: bool
) -> None:
    """Blanks don't matter, lines do; reals have a tolerance in the faithful mode alone."""
    assert (official_printed(out, expected), printed(out, expected)) == (official, faithful)


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ((1, (2, 3)), [1, [2, 3]], True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (True, 1, False),
        ({1: [2.0000001]}, {"1": [2.0]}, True),
        ([1], [1, 2], False),
        (None, 0, False),
    ],
)
def test_returned_values_are_compared_by_structure(value: object, expected: object, same: bool) -> None:
    """Tuples count as lists, reals have a tolerance, True is not 1."""
    assert returned(value, expected) is same


def packed(data: bytes) -> str:
    """As LiveCodeBench packs."""
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize("protocol", range(1, 6))
def test_private_tests_are_read_without_unpickling(protocol: int) -> None:
    """One pickled string of every protocol; plain JSON as it is."""
    rows = [{"input": "1\n" * 300, "output": "ü", "testtype": "stdin"}]
    assert unpack(packed(pickle.dumps(json.dumps(rows), protocol=protocol)), "q") == rows
    assert unpack(json.dumps(rows), "q") == rows


class Exploit:
    """What a hostile file would hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploited",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Exploit()), "STACK_GLOBAL"),
        (pickle.dumps(["[]"]), "EMPTY_LIST"),
        (b"cos\nsystem\n(S'touch exploited'\ntR.", "GLOBAL"),
        (b"not a pickle", "no pickle"),
        (pickle.dumps("{}"), "not a list"),
        (pickle.dumps("[")[:-1], "pickle"),
    ],
)
def test_a_pickle_that_is_more_than_a_string_is_refused(
    data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instruction is named and nothing runs."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        unpack(packed(data), "question q")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_off_package_is_refused() -> None:
    """Half of the compressed data is not silently half of the tests."""
    half = base64.b64encode(zlib.compress(pickle.dumps("[]" * 1000))[:-8]).decode()
    with pytest.raises(DataError, match="cut off"):
        unpack(half, "q")

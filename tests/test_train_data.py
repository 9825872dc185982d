"""Rows, masks and lengths: what the model is taught is decided here, so each known flaw has a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune import recipes
from finetune.llm import tokens
from finetune.llm.decontaminate import decontaminate, load_problems
from finetune.llm.examples import Example, stage_data
from finetune.llm.review_examples import review_examples
from finetune.llm.sources import Problems, codegen_rows
from finetune.recipes import Length
from review_data import codegen_sets, dataset
from review_data.codegen_sets import CodegenRow
from review_data.errors import DataError, UserError
from review_data.prompts import SYSTEM
from review_data.replies import parse_explain, parse_find, parse_rate
from tests.support.training import rows, short_recipe, sums, tiny_base, write_rows

__all__ = ["sums", "tiny_base"]
pytestmark = pytest.mark.train
EXAMPLE = Example(
    id="1", kind="codegen", messages=({"role": "user", "content": "What is 1 plus 1?"},), completion="2"
)


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> object:
    """The tiny base's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_base)


def test_only_the_completion_and_its_end_token_are_learned(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Prompt tokens carry no label; the last label is the template's end of turn."""
    end = tokens.prepare(tokenizer)
    row = tokens.encode(tokenizer, EXAMPLE, end)
    learned = [label for label in row.labels if label != tokens.IGNORED]
    assert tokenizer.decode(learned) == "2<|im_end|>"
    assert learned[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert row.labels[: len(row.labels) - 2] == [tokens.IGNORED] * (len(row.labels) - 2)


def test_the_prompt_is_encoded_as_a_server_encodes_it(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """The masked part is exactly the chat template with a generation prompt."""
    row = tokens.encode(tokenizer, EXAMPLE, tokens.prepare(tokenizer))
    served = tokenizer.apply_chat_template(
        list(EXAMPLE.messages), add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert row.input_ids[: len(served)] == served
    assert row.input_ids[len(served) :] == [label for label in row.labels if label != tokens.IGNORED]


def test_the_pad_token_is_never_the_end_token(tiny_base: Path) -> None:
    """A tokenizer that pads with its end token gets another pad token: otherwise stopping is not learned."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.pad_token = tokenizer.eos_token
    end = tokens.prepare(tokenizer)
    assert tokenizer.pad_token_id != end == tokenizer.eos_token_id


def test_a_base_without_a_chat_template_is_refused(tiny_base: Path) -> None:
    """Without a template there is no end of turn to learn."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        tokens.prepare(tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(UserError, match="special token"):
        tokens.prepare(tokenizer)


def test_rows_that_are_too_long_are_counted_and_refused(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """Nothing is cut in silence: beyond the limit training does not start, within it rows are counted."""
    long = EXAMPLE.model_copy(update={"id": "2", "completion": "2 " * 60})
    with pytest.raises(UserError, match=r"1 of 2 rows \(50\.0%\) are longer than length.tokens = 48"):
        tokens.encode_all(tokenizer, [EXAMPLE, long], Length(tokens=48, limit=0.1), "train")
    dropped = tokens.encode_all(tokenizer, [EXAMPLE, long], Length(tokens=48, limit=0.5), "train")
    assert (dropped.lengths.rows, dropped.lengths.too_long, dropped.lengths.kept) == (2, 1, 1)
    cut = tokens.encode_all(tokenizer, [EXAMPLE, long], Length(tokens=48, limit=1, too_long="cut"), "train")
    assert [len(row.input_ids) for row in cut.rows][1] == 48
    assert cut.rows[1].labels[-1] != tokens.prepare(tokenizer)


def test_the_decoded_row_shows_its_mask(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """`--dry-run` shows what is learned between brackets."""
    shown = tokens.show(tokenizer, tokens.encode(tokenizer, EXAMPLE, tokens.prepare(tokenizer)))
    assert shown.endswith("assistant\n⟦2<|im_end|>⟧")


def test_the_test_split_is_never_read_for_training_or_choice(tiny_base: Path, sums: Path) -> None:
    """Train and validation hold their own rows and none of the test rows, whatever it is called."""
    recipe = short_recipe(tiny_base, sums)
    data = stage_data(recipe, recipe.stages[0], Problems())
    test = {row["input"] for row in rows() if row["split"] == "test"}
    valid = {row["input"] for row in rows() if row["split"] == "valid"}
    assert {example.messages[-1]["content"] for example in data.validation} == valid
    assert not test & {example.messages[-1]["content"] for example in (*data.train, *data.validation)}
    assert len(data.train) == len(rows()) - len(test) - len(valid)


def test_the_target_is_the_reasoning_by_default_and_the_solution_on_request(tmp_path: Path) -> None:
    """`output` teaches the reasoning too; leading blanks never merge with the prompt."""
    path = write_rows(tmp_path / "a.jsonl", [{**rows()[1], "output": "\n <think>x</think> 1"}])
    row = codegen_sets.load(path, "output")[0]
    assert row.completion("output") == "<think>x</think> 1"
    assert row.completion("solution") == rows()[1]["solution"]


def test_a_set_without_validation_rows_is_refused_or_divided_by_content(tmp_path: Path) -> None:
    """A share of the train rows is set aside on request, the same rows each time, never test rows."""
    only = [{**row, "split": "test" if row["split"] == "test" else "train"} for row in rows()]
    path = str(write_rows(tmp_path / "a.jsonl", only))
    with pytest.raises(DataError, match=r"no rows of the split `validation`.*validation_share"):
        codegen_rows([path], "output", 0.0)
    divided = codegen_rows([path], "output", 0.3)
    again = codegen_rows([path], "output", 0.3)
    aside = [row.id for row in divided if row.split == "validation"]
    assert aside == [row.id for row in again if row.split == "validation"]
    assert 3 < len(aside) < 20
    assert not set(aside) & {"sum-33", "sum-34", "sum-35"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "trian"}, r"a\.jsonl:2, field `split`: `trian` is no split"),
        ({"output": "  \n"}, r"a\.jsonl:2, field `output`: is empty"),
        ({"input": ""}, r"a\.jsonl:2, field `input`"),
        ({"extra": "x"}, r"a\.jsonl:2: has other fields than the first row \(`extra`\)"),
    ],
)
def test_a_bad_row_names_file_line_and_field(tmp_path: Path, change: dict[str, str], message: str) -> None:
    """Unknown splits, empty completions and mixed schemas are found before training."""
    path = write_rows(tmp_path / "a.jsonl", [rows()[0], {**rows()[1], **change}, rows()[2]])
    with pytest.raises(DataError, match=message):
        codegen_sets.load(path, "output")


def test_parquet_and_a_folder_by_split_hold_the_same_rows_as_jsonl(tmp_path: Path) -> None:
    """The three ways to hold a set give the same rows."""
    import pyarrow
    import pyarrow.parquet

    expected = codegen_sets.load(write_rows(tmp_path / "all.jsonl"), "output")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows()), tmp_path / "all.parquet")
    assert codegen_sets.load(tmp_path / "all.parquet", "output") == expected
    folder = tmp_path / "parts"
    folder.mkdir()
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        part = [{k: v for k, v in row.items() if k != "split"} for row in rows() if row["split"] == split]
        write_rows(folder / f"{name}.jsonl", part)
    assert sorted(codegen_sets.load(folder, "output"), key=lambda row: row.id) == sorted(
        expected, key=lambda row: row.id
    )


def test_rows_that_share_long_passages_with_a_benchmark_are_left_out_and_reported(tmp_path: Path) -> None:
    """Thirteen words in a row are contamination, twelve are not; the report names row and problem."""
    words = [f"word{number}" for number in range(30)]
    problems = [("HumanEval/0", " ".join(words))]
    first = CodegenRow(id="leak", input="Well: " + " ".join(words[5:18]) + "!", output="x", split="train")
    second = CodegenRow(id="fine", input="Well: " + " ".join(words[5:17]) + "!", output="x", split="train")
    kept, report = decontaminate([first, second], problems, ["HumanEval"])
    assert [row.id for row in kept] == ["fine"]
    assert [(one.row, one.problem, one.shared) for one in report.overlaps] == [("leak", "HumanEval/0", 1)]
    assert "1 of 2 rows share 13 words" in report.summary()


def test_benchmark_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    """HumanEval's and LiveCodeBench's fields are known; anything else names its line."""
    path = tmp_path / "problems.jsonl"
    human = {"task_id": "HumanEval/1", "prompt": "def f():", "canonical_solution": "  return 1"}
    live = {"question_id": "abc", "question_content": "Add numbers."}
    path.write_text("\n".join(json.dumps(row) for row in (human, live)))
    assert list(load_problems(path)) == [("HumanEval/1", "def f():\n  return 1"), ("abc", "Add numbers.")]
    path.write_text('{"other": 1}')
    with pytest.raises(DataError, match=r"problems\.jsonl:1: is no benchmark problem"):
        list(load_problems(path))


def test_review_examples_are_the_serving_prompts_with_replies_that_parse() -> None:
    """Each kind's prompt is the one that serves, and its completion is read by the serving parser."""
    examples = review_examples("validation", recipes.load("review").data)
    by_kind = {kind: [one for one in examples if one.kind == kind] for kind in ("find", "rate", "explain")}
    assert all(example.messages[0]["content"] == SYSTEM for example in examples)
    assert all(parse_rate(one.completion) for one in by_kind["rate"])
    assert all(parse_explain(one.completion).explanation for one in by_kind["explain"])
    found = sum(len(parse_find(one.completion).issues) for one in by_kind["find"])
    labelled = sum(len(row.findings) for row in dataset.merge_requests("validation"))
    assert found == labelled
    assert len(by_kind["rate"]) == labelled + len(dataset.comments("validation"))


def test_a_rating_prompt_never_holds_the_explanation_that_gives_the_label_away() -> None:
    """The teacher's explanation is an answer, never a question."""
    examples = review_examples("validation", recipes.load("review").data)
    rated = "\n".join(one.messages[-1]["content"] for one in examples if one.kind in ("rate", "find"))
    for request in dataset.merge_requests("validation"):
        for finding in request.findings:
            assert finding.explanation not in rated

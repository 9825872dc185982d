"""Asks a server for everything that a review needs of it, and says what is missing and how to get it."""

from __future__ import annotations

import re
from typing import NamedTuple

from review_data.domain import Category, Issue
from review_data.errors import BackendError
from review_data.prompts import NO_DIFF, find_messages, rate_messages
from review_data.replies import parse_find
from service.backends.asking import PLACEHOLDER, Form, Question, softmax
from service.backends.endpoint.model import EndpointModel
from service.backends.endpoint.served import Served
from service.backends.endpoint.vllm_command import STRUCTURED
from service.backends.endpoint.wire import Refused

_SAMPLE = "File: a.py (added, python)\n@@\n    1 + eval(input())"
_ISSUE = Issue(
    path="a.py", line=1, category=Category.SECURITY, title="Runs what is typed", quote="", source="check"
)


class Check(NamedTuple):
    """One thing looked at: `ok` None means that nobody could tell; reviews fail without what is `needed`."""

    name: str
    ok: bool | None
    detail: str
    needed: bool = True


def check_endpoint(model: EndpointModel) -> list[Check]:
    """The checks in order; ends after the first when the server can't be used at all."""
    try:
        served = model.served
    except BackendError as error:
        return [Check("server", False, str(error))]
    kind = f"vLLM {served.version}" if served.is_vllm else "not vLLM: schemas, no probabilities"
    return [
        Check("server", True, f"{model.wire.address.url} ({kind})"),
        _models(served),
        Check("context", served.context >= 4096, f"{served.context} tokens; 8192 or more is advised"),
        _structured(model),
        _probabilities(model),
        _whitespace(model, served),
        _prefix_cache(model, served),
    ]


def _models(served: Served) -> Check:
    bases = [one.name for one in served.models if one.parent is None]
    adapters = [one.name for one in served.models if one.parent is not None]
    detail = f"base {', '.join(bases)}; adapters {', '.join(adapters) or 'none'}; asked: {served.asked.name}"
    return Check("models", True, detail)


def _structured(model: EndpointModel) -> Check:
    question = Question(Form.FIND, tuple(find_messages(_SAMPLE, nonce=PLACEHOLDER)))
    try:
        reply = model.write(question)
        if reply.cut:
            return Check("structured output", True, "bound, but the sample's reply was cut off")
        found = len(parse_find(reply.text).issues)
    except BackendError as error:
        return Check("structured output", False, str(error))
    return Check("structured output", True, f"a sample's reply parses ({found} issues)")


def _probabilities(model: EndpointModel) -> Check:
    question = Question(Form.RATE, tuple(rate_messages(NO_DIFF, _ISSUE, nonce=PLACEHOLDER)))
    try:
        label = model.label(question)
    except BackendError as error:
        return Check("probabilities", False, str(error))
    if label.logprobs is None:
        return Check(
            "probabilities", False, "none: findings show a severity alone; vLLM gives them", needed=False
        )
    values = ", ".join(f"{value:.2f}" for value in softmax(label.logprobs, model.temperature))
    return Check("probabilities", True, f"low to critical {values}; temperature {model.temperature:g}")


def _whitespace(model: EndpointModel, served: Served) -> Check:
    """A plain JSON schema, as other clients of the server send it; Terazi's own pattern is not affected."""
    if not served.is_vllm:
        return Check(
            "white space", None, "unknown; replies that run on are cut off and reported", needed=False
        )
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body = {
        "model": served.asked.name,
        "messages": [{"role": "user", "content": "Write JSON with many line breaks."}],
        "max_tokens": 60,
        "structured_outputs": {"json": schema},
        # Line breaks and runs of blanks are what the server's flag forbids, so ask for nothing else.
        "temperature": 0,
    }
    try:
        reply = model.wire.post(f"{model.wire.address.url}/chat/completions", body)
        text = str(reply["choices"][0]["message"]["content"])
    except (BackendError, LookupError, TypeError) as error:
        return Check("white space", None, f"could not be tried: {error}", needed=False)
    loops = re.search(r"\s{2,}|\n", text) is not None
    advice = (
        "a plain JSON schema lets models print blanks; Terazi binds its replies tighter; for other clients "
        f"start vLLM with --structured-outputs-config '{STRUCTURED}'"
    )
    return Check("white space", not loops, advice if loops else "none between JSON tokens", needed=False)


def _prefix_cache(model: EndpointModel, served: Served) -> Check:
    if not served.is_vllm:
        return Check("prefix caching", None, "unknown", needed=False)
    try:
        before = hit_tokens(model.wire.get_text(f"{model.wire.address.root}/metrics"))
        question = Question(Form.RATE, tuple(rate_messages(NO_DIFF, _ISSUE, nonce=PLACEHOLDER)))
        model.label(question)
        after = hit_tokens(model.wire.get_text(f"{model.wire.address.root}/metrics"))
    except Refused as error:
        return Check("prefix caching", None, f"no metrics: {error}", needed=False)
    except BackendError as error:
        return Check("prefix caching", False, str(error), needed=False)
    used = after.hits > before.hits
    detail = "a repeated prompt was found in it" if used else "off; start vLLM with --enable-prefix-caching"
    return Check("prefix caching", used, detail, needed=False)


class PrefixCache(NamedTuple):
    """vLLM's counters of prompt tokens: looked up in the prefix cache, and found there."""

    queries: float
    hits: float


def hit_tokens(metrics: str) -> PrefixCache:
    """The counters from the text of /metrics, summed over engines."""
    sums = {"queries": 0.0, "hits": 0.0}
    for name in sums:
        pattern = rf"^vllm:prefix_cache_{name}(?:_total)?(?:\{{[^}}]*\}})? ([0-9.eE+]+)$"
        sums[name] = sum(float(value) for value in re.findall(pattern, metrics, re.MULTILINE))
    return PrefixCache(**sums)

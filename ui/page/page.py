"""The page's layout: tabs, fields and which action each event calls. One page per language.

What the actions do is in `ui.page.actions`, what they show in `cards`, `lists` and `charts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from review_data.severity import SEVERITIES
from service.api.desk import Desk
from service.api.schema import EXAMPLE_PATCH
from service.backends.embedded.severity_model import PACKAGED
from ui.page import actions, cards, model_tab
from ui.page.texts import Texts


def build(desk: Desk, texts: Texts) -> Any:
    """The Gradio blocks of the page in one language."""
    import gradio as gr

    with gr.Blocks(title="Terazi", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.HTML(_top(texts))
        with gr.Tabs():
            with gr.Tab(texts.tab_review, id="review"):
                _review_tab(gr, page, desk, texts)
            with gr.Tab(texts.tab_history, id="history") as tab:
                _history_tab(gr, tab, desk, texts)
            with gr.Tab(texts.tab_batch, id="batch"):
                _batch_tab(gr, desk, texts)
            with gr.Tab(texts.tab_model, id="model") as tab:
                _model_tab(gr, tab, texts)
    page.queue(default_concurrency_limit=16, max_size=100, api_open=False)
    return page


def actor_of(request: Any) -> str:
    """Who uses the page: the token's name, as the guard found it."""
    return str(request.request.scope.get("state", {}).get("actor", "local"))


def _review_tab(gr: Any, page: Any, desk: Desk, texts: Texts) -> None:
    with gr.Accordion(texts.new, open=True) as form:
        fields = _form(gr, desk, texts)
        with gr.Row():
            go = gr.Button(texts.review, variant="primary", elem_id="tz-go")
            sample = gr.Button(texts.sample, elem_id="tz-sample")
    shown = gr.HTML(cards.note(texts.empty), elem_id="tz-result")

    def run(
        patch: Any, upload: Any, repository: Any, span: Any, title: Any, backend: Any, adapter: Any,
        request: gr.Request,
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        given = actions.Form(patch or "", upload, repository, span or "", title or "", backend, adapter or "")
        for markup in actions.run(desk, given, actor_of(request), texts):
            taken = upload and not Path(upload).exists()
            yield markup, gr.update(value=None) if taken else gr.skip()

    def load(request: gr.Request) -> Iterator[tuple[str, Any]]:
        review_id = request.query_params.get("review")
        for markup in actions.open_link(desk, review_id, texts):
            yield markup, gr.update(open=not review_id)

    run.__annotations__["request"] = load.__annotations__["request"] = gr.Request
    go.click(run, fields, [shown, fields[1]], show_progress="hidden", api_visibility="private")
    sample.click(lambda: EXAMPLE_PATCH, None, fields[0], api_visibility="private")
    page.load(load, None, [shown, form], show_progress="hidden", api_visibility="private")


def _form(gr: Any, desk: Desk, texts: Texts) -> list[Any]:
    """The fields in the order of `actions.Form`."""
    patch = gr.Textbox(
        label=texts.patch, placeholder=texts.patch_hint, lines=8, max_lines=16, elem_id="tz-patch"
    )
    upload = gr.File(label=texts.upload, type="filepath", height=150, elem_id="tz-upload")
    repository, span = _range_fields(gr, desk, texts)
    with gr.Accordion(texts.options, open=False):
        title = gr.Textbox(label=texts.title, max_length=300)
        backend = gr.Dropdown(_backends(), value=desk.settings.backend, label=texts.backend)
        adapter = gr.Textbox(label=texts.adapter, info=texts.adapter_hint)
    return [patch, upload, repository, span, title, backend, adapter]


def _range_fields(gr: Any, desk: Desk, texts: Texts) -> tuple[Any, Any]:
    """Repository and range; hidden when the server has no repository to offer."""
    with gr.Accordion(texts.from_repository, open=False, visible=bool(desk.repositories)), gr.Row():
        repository = gr.Dropdown(["", *desk.repositories], value="", label=texts.repository)
        span = gr.Textbox(label=texts.range, placeholder=texts.range_hint, max_length=300)
    return repository, span


def _backends() -> list[str]:
    from service.backends.catalog import BACKENDS

    return list(BACKENDS)


def _history_tab(gr: Any, tab: Any, desk: Desk, texts: Texts) -> None:
    with gr.Row():
        search = gr.Textbox(label=texts.search, placeholder=texts.search_hint, max_length=200, scale=3)
        levels = [(texts.any, ""), *((texts.severities[level], level.value) for level in SEVERITIES)]
        severity = gr.Dropdown(levels, value="", label=texts.at_least, min_width=120)
        names = [(texts.all_repositories, ""), *((name, name) for name in desk.repositories)]
        repository = gr.Dropdown(
            names, value="", label=texts.repository, visible=len(names) > 1, min_width=120
        )
    find = gr.Button(texts.find, variant="primary")
    trend = gr.HTML("")
    shown = gr.HTML(cards.note(texts.history_empty), elem_id="tz-history")
    cursor = gr.State("")
    older = gr.Button(texts.older, visible=False)

    def first(search: str, severity: str, repository: str) -> tuple[str, str, str, Any]:
        found = actions.history(desk, search, severity, repository, "", texts)
        return found.trend, found.markup, found.cursor, gr.update(visible=bool(found.cursor))

    def following(search: str, severity: str, repository: str, at: str) -> tuple[str, str, Any]:
        found = actions.history(desk, search, severity, repository, at, texts)
        return found.markup, found.cursor, gr.update(visible=bool(found.cursor))

    fields = [search, severity, repository]
    gr.on(
        [find.click, search.submit, severity.change, repository.change, tab.select],
        first, fields, [trend, shown, cursor, older], api_visibility="private",
    )  # fmt: skip
    older.click(following, [*fields, cursor], [shown, cursor, older], api_visibility="private")


def _batch_tab(gr: Any, desk: Desk, texts: Texts) -> None:
    uploads = gr.File(
        label=texts.batch_upload, file_count="multiple", type="filepath", height=150, elem_id="tz-uploads"
    )
    with gr.Row(visible=bool(desk.repositories)):
        names = list(desk.repositories)
        repository = gr.Dropdown(names, value=next(iter(names), None), label=texts.repository)
        ranges = gr.Textbox(
            label=texts.batch_ranges, placeholder=texts.batch_ranges_hint, lines=3, max_length=10_000
        )
    go = gr.Button(texts.batch_go, variant="primary", elem_id="tz-batch-go")
    shown = gr.HTML(cards.note(texts.batch_empty), elem_id="tz-batch")

    def run(files: Any, repository: Any, ranges: Any, request: gr.Request) -> Iterator[tuple[str, Any]]:
        for markup in actions.batch(desk, files or [], repository, ranges or "", actor_of(request), texts):
            yield markup, gr.update(value=None)

    run.__annotations__["request"] = gr.Request
    fields = [uploads, repository, ranges]
    go.click(run, fields, [shown, uploads], show_progress="hidden", api_visibility="private")


def _model_tab(gr: Any, tab: Any, texts: Texts, model: Path = PACKAGED) -> None:
    pictures = gr.HTML(model_tab.pictures(model, texts))
    card = gr.Markdown(model_tab.card(model), elem_id="tz-model-card")
    tab.select(
        lambda: (model_tab.pictures(model, texts), model_tab.card(model)),
        None,
        [pictures, card],
        show_progress="hidden",
        api_visibility="private",
    )


def _top(texts: Texts) -> str:
    other = texts.other_lang
    return (
        f'<header class="tz-top"><h1>Terazi</h1><p>{texts.tagline}</p>'
        f'<a href="/{other}/" lang="{other}" hreflang="{other}">{texts.other}</a>'
        "</header>"
    )

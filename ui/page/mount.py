"""Puts the page on the application: `/en/` and `/tr/`, and `/` that goes to the browser's language.

Gradio is told to fetch nothing and to send nothing: no analytics, no web fonts, no Node process, no history
of runs in the browser or on a hub, and no address that a hand-made call names in place of an upload or file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from service.api.desk import Desk
from ui.page.languages import LANGUAGES, preferred
from ui.page.page import build

_HERE = Path(__file__).parent
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="none" stroke="#1d4ed8" '
    'd="M8 2v12M4 14h8M2 5h12M2 5l-1 4h4zM14 5l-1 4h3z"/></svg>'
)


def mount_page(app: FastAPI, desk: Desk) -> None:
    """Adds the page's addresses; `ModuleNotFoundError` when Gradio is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    _fetch_nothing()
    app.add_api_route("/", start, include_in_schema=False)
    app.add_api_route("/favicon.ico", icon, include_in_schema=False)
    system = ("system-ui", "sans-serif")
    mono = ("ui-monospace", "Consolas", "monospace")
    theme = gr.themes.Default(primary_hue="blue", font=system, font_mono=mono).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    for name, texts in LANGUAGES.items():
        page = build(desk, texts)
        page.has_launched = True  # without it Gradio takes any path of the machine for an upload
        gr.mount_gradio_app(
            app,
            page,
            path=f"/{name}",
            ssr_mode=False,
            footer_links=[],
            enable_monitoring=False,
            mcp_server=False,
            run_history=False,
            show_error=False,
            max_file_size=desk.settings.request_limit_bytes,
            theme=theme,
            css=style,
            head=f"<script>{script}</script>",
        )


def _fetch_nothing() -> None:
    """Shuts the library by which Gradio fetches addresses, and asks a public service who they are."""
    import safehttpx

    async def refuse(*_: object, **__: object) -> NoReturn:
        raise ValueError("this server fetches nothing")

    safehttpx.get = safehttpx.async_validate_url = refuse


def start(request: Request) -> RedirectResponse:
    """The page in the browser's language; a review's link goes along."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/{query}", 307)


def icon() -> Response:
    """A pair of scales for the browser's tab."""
    return Response(_ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

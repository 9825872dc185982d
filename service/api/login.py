"""Signing in to the page with a token, where one is needed: a form, and a cookie that scripts can't read.

The cookie holds the token itself, so that revoking the token ends the session at once.
"""

from __future__ import annotations

import html
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from service.api.guard import COOKIE, safe_next
from service.api.routes import desk_of

router = APIRouter(include_in_schema=False)
_WEEK_S: Final = 7 * 86_400
_FORM: Final = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Terazi</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
:root{{color-scheme:light dark;font-family:system-ui,sans-serif}}body{{display:grid;place-items:center;
min-height:90vh;margin:0}}form{{display:grid;gap:.8rem;width:min(22rem,88vw)}}input,button{{font:inherit;
padding:.6rem .7rem;border-radius:.4rem;border:1px solid #888}}button{{background:#1d4ed8;color:#fff;
border-color:#1d4ed8;cursor:pointer}}p{{margin:0}}.bad{{color:#dc2626}}</style>
<form method="post" action="/login"><h1>Terazi</h1><p>{say}</p>{bad}
<input type="hidden" name="next" value="{next}"><label for="token">{label}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>{button}</button></form></html>"""
_TEXTS: Final = {
    "en": {
        "say": "This server asks for a token. Its owner makes one with <code>terazi token create</code>.",
        "label": "Token",
        "button": "Sign in",
        "bad": "That token is not valid: it is wrong, revoked or expired.",
    },
    "tr": {
        "say": "Bu sunucu bir erişim anahtarı ister; sahibi <code>terazi token create</code> ile üretir.",
        "label": "Anahtar",
        "button": "Giriş yap",
        "bad": "Bu anahtar geçerli değil: yanlış, iptal edilmiş ya da süresi dolmuş.",
    },
}


@router.get("/login")
def form(request: Request, next: str = "/") -> HTMLResponse:
    """The form."""
    return HTMLResponse(_page(request, next, wrong=False))


@router.post("/login")
async def sign_in(
    request: Request,
    token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Sets the cookie and goes on, or shows the form again."""
    actor = await run_in_threadpool(desk_of(request).actor, token)
    if actor is None:
        return HTMLResponse(_page(request, next, wrong=True), 401)
    reply = RedirectResponse(safe_next(next), 303)
    secure = request.url.scheme == "https"
    reply.set_cookie(COOKIE, token, max_age=_WEEK_S, httponly=True, samesite="strict", secure=secure)
    return reply


@router.post("/logout")
def sign_out() -> Response:
    """Drops the cookie."""
    reply = RedirectResponse("/login", 303)
    reply.delete_cookie(COOKIE)
    return reply


def _page(request: Request, target: str, *, wrong: bool) -> str:
    lang = "tr" if request.headers.get("accept-language", "").lower().startswith("tr") else "en"
    texts = _TEXTS[lang]
    bad = f'<p class="bad" role="alert">{texts["bad"]}</p>' if wrong else ""
    return _FORM.format(lang=lang, next=html.escape(safe_next(target)), **(texts | {"bad": bad}))

"""Puts the server together: database, service, page, socket. Owns the order of start and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from review_data.errors import MissingExtra
from service.settings import Settings


def serve(
    settings: Settings, flags: Mapping[str, object], *, page: bool, announce: Callable[[str], None]
) -> None:
    """Serves until SIGTERM or Ctrl-C. `announce` gets the line with the address once the server is up."""
    try:
        from service.api import server
        from service.api.app import create_app
        from service.api.desk import Desk
        from service.api.logs import configure
        from service.store.engine import migrate, open_engine, store_location, store_url
    except ModuleNotFoundError as error:
        raise MissingExtra("serve", "`terazi serve`", error.name or "fastapi") from error
    configure()
    listener = server.bind(settings)
    engine = open_engine(store_url(store_location(settings.store)))
    migrate(engine)
    desk = Desk(engine, settings, flags)
    app = create_app(desk, _page() if page else None)
    url = server.url_of(listener)
    server.run(app, desk, listener, lambda: announce(f"Terazi is at {url} (Ctrl-C stops it)"))


def _page() -> Callable[..., None]:
    try:
        from ui.page.mount import mount_page
    except ModuleNotFoundError as error:
        raise MissingExtra("ui", "the review page", error.name or "gradio") from error
    return mount_page

"""Mounts the page on the application."""

from __future__ import annotations

from fastapi import FastAPI

from service.api.desk import Desk


def mount_page(app: FastAPI, desk: Desk) -> None:
    """Adds the page's addresses."""

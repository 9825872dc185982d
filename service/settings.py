"""Settings: what can be set, where each value came from, and their resolution.

Order: command line > `TERAZI_*` environment > the repository's `terazi.toml` (or `[tool.terazi]` in its
pyproject.toml) > the user's file > default. Resolved once at the edge, then passed explicitly; nothing below
reads the environment for itself. A setting marked `USER_ONLY` can't come from the repository's file, because
whoever wrote the change may have written that file too.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field, JsonValue, ValidationError, field_validator

from review_data.domain import Record
from review_data.errors import SettingsError
from review_data.severity import Severity

# Ten days: no review takes longer, and the system's clocks can wait for it.
LONGEST_S: Final = 864_000.0
# Files in which a repository may set its own, the first first, and the table that holds the settings.
REPOSITORY_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "terazi.toml": (),
    "pyproject.toml": ("tool", "terazi"),
}
USER_ONLY: Final[dict[str, JsonValue]] = {"user_only": True}


class Settings(Record):
    """Every setting. The flag is the name with dashes, the variable `TERAZI_` and the name in capitals.

    The docstrings below are read by `meanings` (by pydantic they would be at every start of the program).
    """

    threshold: Severity = Severity.MEDIUM
    """Findings below this severity are hidden and counted."""
    gate: Severity | None = None
    """Exit with 1 when a finding is at least this severe; `none` never does."""
    backend: str = "embedded"
    """What finds and rates: embedded, endpoint or local."""
    finders: tuple[str, ...] = ()
    """Backends that find issues; empty means the one named by `backend`."""
    rater: str = ""
    """Backend that rates issues; empty means the one named by `backend`."""
    ignore: tuple[str, ...] = ()
    """Paths that are not reviewed, as .gitignore patterns."""
    project: str = ""
    """One line about the project, shown to the rater: what it is and who can reach it."""
    deadline_s: float | None = Field(default=None, gt=0, le=LONGEST_S)
    """Seconds after which what is not reviewed yet is recorded as skipped."""
    endpoint: str = Field(default="http://127.0.0.1:8000/v1", json_schema_extra=USER_ONLY)
    """URL of the OpenAI-compatible server that the endpoint backend asks."""
    model: str = Field(default="", json_schema_extra=USER_ONLY)
    """The endpoint's name for the model; empty means the only base model that it serves."""
    adapter: str = Field(default="", json_schema_extra=USER_ONLY)
    """The endpoint's name for the LoRA adapter; empty means the model without one."""
    endpoint_timeout_s: float = Field(default=120.0, gt=0, le=LONGEST_S, json_schema_extra=USER_ONLY)
    """Seconds that one request to the endpoint may take."""
    endpoint_concurrency: int = Field(default=16, ge=1, le=512, json_schema_extra=USER_ONLY)
    """Requests that may run on the endpoint at once."""
    local_model: str = Field(default="", json_schema_extra=USER_ONLY)
    """Folder or hub id of the model that the local backend loads."""
    local_adapter: str = Field(default="", json_schema_extra=USER_ONLY)
    """Folder of the LoRA adapter that the local backend loads."""
    device: str = Field(default="auto", json_schema_extra=USER_ONLY)
    """Where the local backend computes: auto, cpu, cuda, cuda:1, mps."""
    dtype: str = Field(default="auto", json_schema_extra=USER_ONLY)
    """Numbers the local backend computes with: auto, float32, bfloat16 or float16."""
    local_batch: int = Field(default=4, ge=1, le=256, json_schema_extra=USER_ONLY)
    """Questions that the local backend answers together."""
    chunk_tokens: int = Field(default=3000, ge=256)
    """Tokens of code that a language model is shown at a time."""
    explain: Literal["shown", "all", "none"] = "shown"
    """Findings whose severity the language model explains: those the threshold shows, all or none."""
    label_temperature: float | None = Field(default=None, gt=0, json_schema_extra=USER_ONLY)
    """Calibration of a language model's probabilities; unset means the adapter's own, else 1."""
    cache_mb: int = Field(default=256, ge=0, json_schema_extra=USER_ONLY)
    """Megabytes of language models' replies to keep for the next review; 0 keeps none."""
    hook_block: Severity | None = None
    """The hook stops a push when a finding is at least this severe; `none` only warns."""
    hook_deadline_s: float = Field(default=20.0, gt=0, le=LONGEST_S)
    """Seconds the hook may take before the push goes on."""
    hook_fail: Literal["open", "closed"] = "open"
    """What the hook does when it could not review: let the push go on, or stop it."""
    host: str = Field(default="127.0.0.1", json_schema_extra=USER_ONLY)
    """Address that `terazi serve` listens on; other than loopback, every request needs a token."""
    port: int = Field(default=8765, ge=0, le=65535, json_schema_extra=USER_ONLY)
    """Port that `terazi serve` listens on; 0 takes a free one."""
    public_hosts: tuple[str, ...] = Field(default=(), json_schema_extra=USER_ONLY)
    """Names under which browsers reach the server; requests for other names are refused."""
    store: str = Field(default="", json_schema_extra=USER_ONLY)
    """Database of reviews and verdicts: a SQLite file or postgresql://...; empty means the user's folder."""
    repositories: tuple[str, ...] = Field(default=(), json_schema_extra=USER_ONLY)
    """Repositories that the server may review, as name=path."""
    workers: int = Field(default=2, ge=1, le=64, json_schema_extra=USER_ONLY)
    """Reviews that the server runs at once."""
    queue_limit: int = Field(default=200, ge=1, json_schema_extra=USER_ONLY)
    """Reviews that may wait; beyond it the server answers 429."""
    request_limit_bytes: int = Field(default=10_000_000, ge=1000, json_schema_extra=USER_ONLY)
    """Largest request body that the server reads."""
    requests_at_once: int = Field(default=64, ge=1, json_schema_extra=USER_ONLY)
    """Requests that the server works on at once; beyond it, it answers 429."""
    client_timeout_s: float = Field(default=20.0, gt=0, le=LONGEST_S, json_schema_extra=USER_ONLY)
    """Seconds that a client may take to send its request."""
    review_limit_s: float = Field(default=600.0, gt=0, le=LONGEST_S, json_schema_extra=USER_ONLY)
    """Seconds that one review may take on the server."""
    retention_days: int = Field(default=90, ge=0, json_schema_extra=USER_ONLY)
    """Days that the server keeps reviews on which nobody gave a verdict; 0 keeps them."""
    verdict_retention_days: int = Field(default=0, ge=0, json_schema_extra=USER_ONLY)
    """Days that the server keeps reviews with verdicts; 0 keeps them for training."""

    @field_validator("gate", "hook_block", mode="before")
    @classmethod
    def _none_by_name(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "none" else value

    @field_validator("threshold", "gate", "hook_block", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("finders", "ignore", "public_hosts", "repositories", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )


def meanings() -> dict[str, str]:
    """What each setting does: the docstring under its field."""
    (body,) = (
        node.body for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)
    )
    return {
        field.target.id: inspect.cleandoc(ast.literal_eval(below.value))
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
    }


class Resolved(NamedTuple):
    """Settings and, per field, where its value came from: "default", "command line", a variable, a file."""

    settings: Settings
    origins: dict[str, str]


class Layer(NamedTuple):
    """Values from one place; `origin` names it in messages, `trusted` allows `USER_ONLY` settings."""

    origin: str
    values: Mapping[str, object]
    trusted: bool = True


def resolve(
    flags: Mapping[str, object] | None = None,
    *,
    folder: Path | None = None,
    repository: Layer | None = None,
    env: Mapping[str, str] | None = None,
) -> Resolved:
    """Settings for a run in `folder`; flags that are None count as not given.

    `repository` replaces the file found from `folder` (a server passes the target branch's). Raises
    `SettingsError` naming the place, the key and what it may be.
    """
    env = os.environ if env is None else env
    found = repository if repository is not None else (repository_layer(folder) if folder else None)
    values: dict[str, object] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for read in _places(flags or {}, lambda: found, env):
        layer = read()
        if layer is not None:
            checked = check_layer(layer)
            values.update(checked)
            origins.update({key: _origin(layer, key) for key in checked})
    return Resolved(Settings.model_validate(values), origins)


def raw_value(key: str, flags: Mapping[str, object], folder: Path) -> object:
    """One setting as it is written, unchecked, for when the settings can't be resolved; None: nowhere."""
    for read in reversed(_places(flags, lambda: repository_layer(folder), os.environ)):
        with suppress(SettingsError):
            layer = read()
            if layer is not None and key in layer.values:
                return layer.values[key]
    return None


def _places(
    flags: Mapping[str, object], repository: Callable[[], Layer | None], env: Mapping[str, str]
) -> tuple[Callable[[], Layer | None], ...]:
    """Where values come from, the weakest first."""
    return (
        lambda: user_layer(env),
        repository,
        lambda: environment_layer(env),
        lambda: flag_layer(flags),
    )


def check_layer(layer: Layer) -> dict[str, object]:
    """The layer's values validated one by one, so that an error names where the bad value stands."""
    for key in layer.values:
        _check_key(layer, key)
    try:
        valid = Settings.model_validate(dict(layer.values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise SettingsError(
            f"{_origin(layer, key)}: `{key}` can't be {layer.values[key]!r}: {first['msg']}; "
            f"see `terazi config` for what it does"
        ) from None
    return {key: getattr(valid, key) for key in layer.values}


def parse_toml(text: str, origin: str, table: tuple[str, ...] = ()) -> Layer:
    """A configuration file's text as an untrusted layer; `SettingsError` when it is not TOML."""
    try:
        values: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{origin}: is not valid TOML: {error}; correct the file") from None
    for key in table:
        values = values.get(key, {}) if isinstance(values, dict) else {}
    if not isinstance(values, dict):
        raise SettingsError(
            f"{origin}: [{'.'.join(table)}] is not a table; write `key = value` lines under it"
        )
    return Layer(origin, values, trusted=False)


def repository_layer(folder: Path) -> Layer | None:
    """The nearest `terazi.toml` or `[tool.terazi]`, from `folder` up to the repository's root."""
    for place in (folder.absolute(), *folder.absolute().parents):
        for name, table in REPOSITORY_TABLES.items():
            layer = _file_layer(place / name, table)
            if layer is not None and (layer.values or not table):
                return layer
        if (place / ".git").exists():
            return None
    return None


def user_layer(env: Mapping[str, str]) -> Layer | None:
    """The user's own file: `TERAZI_CONFIG`, else `config.toml` in the user's configuration folder."""
    named = env.get("TERAZI_CONFIG")
    if named:
        layer = _file_layer(Path(named), ())
        if layer is None:
            raise SettingsError(f"TERAZI_CONFIG: there is no file {named}; correct or unset the variable")
        return layer._replace(trusted=True)
    from platformdirs import user_config_path

    layer = _file_layer(user_config_path("terazi") / "config.toml", ())
    return layer._replace(trusted=True) if layer else None


def environment_layer(env: Mapping[str, str]) -> Layer:
    """Values of `TERAZI_<NAME>` variables; other TERAZI_ variables are not settings."""
    names = {f"TERAZI_{key.upper()}": key for key in Settings.model_fields}
    return Layer("environment", {names[name]: value for name, value in env.items() if name in names})


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """Values given on the command line."""
    return Layer("command line", {key: value for key, value in flags.items() if value is not None})


def _file_layer(path: Path, table: tuple[str, ...]) -> Layer | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read ({error}); correct or remove the file") from None
    return parse_toml(text, str(path), table)


def _check_key(layer: Layer, key: str) -> None:
    field = Settings.model_fields.get(key)
    if field is None:
        near = difflib.get_close_matches(key, Settings.model_fields, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`terazi config` lists the settings"
        raise SettingsError(f"{layer.origin}: there is no setting `{key}`; {hint}")
    if not layer.trusted and field.json_schema_extra == USER_ONLY:
        raise SettingsError(
            f"{layer.origin}: `{key}` can't be set by a repository's file, because a change could bring it "
            f"along; set {_variable(key)}, the flag, or your own configuration file"
        )


def _origin(layer: Layer, key: str) -> str:
    return _variable(key) if layer.origin == "environment" else layer.origin


def _variable(key: str) -> str:
    return f"TERAZI_{key.upper()}"

"""Settings resolve in the documented order, and an error names place, key and choices."""

from __future__ import annotations

from pathlib import Path

import pytest

from review_data.errors import SettingsError
from review_data.severity import Severity
from service.settings import Layer, Settings, meanings, resolve


def test_every_setting_says_what_it_does() -> None:
    """Each field has a docstring, and `meanings` finds it."""
    told = meanings()
    assert told.keys() == Settings.model_fields.keys()
    assert told["threshold"] == "Findings below this severity are hidden and counted."


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder that looks like a repository, with a user file beside it."""
    folder = tmp_path / "repository"
    (folder / ".git").mkdir(parents=True)
    (tmp_path / "user.toml").write_text('threshold = "low"\nproject = "user"\n')
    return folder


def env_of(repository: Path, **values: str) -> dict[str, str]:
    """An environment that names the user's file."""
    return {"TERAZI_CONFIG": str(repository.parent / "user.toml"), **values}


def test_each_place_overrides_the_one_below(repository: Path) -> None:
    """Command line, environment, repository, user, default: the first that speaks wins, and is named."""
    (repository / "terazi.toml").write_text('threshold = "high"\n')
    env = env_of(repository, TERAZI_THRESHOLD="critical")
    assert resolve(env=env_of(repository)).settings.threshold is Severity.LOW
    assert resolve(folder=repository, env=env_of(repository)).settings.threshold is Severity.HIGH
    assert resolve(folder=repository, env=env).settings.threshold is Severity.CRITICAL
    resolved = resolve({"threshold": "medium", "gate": None}, folder=repository, env=env)
    assert resolved.settings.threshold is Severity.MEDIUM
    assert resolved.origins["threshold"] == "command line"
    assert resolved.origins["gate"] == "default"
    assert resolved.origins["project"] == str(repository.parent / "user.toml")


def test_pyproject_counts_when_it_has_the_table(repository: Path) -> None:
    """`[tool.terazi]` works like terazi.toml, from a folder below as well."""
    (repository / "pyproject.toml").write_text('[tool.terazi]\nignore = ["docs/**"]\n')
    (repository / "deep").mkdir()
    assert resolve(folder=repository / "deep", env=env_of(repository)).settings.ignore == ("docs/**",)


def test_the_search_stops_at_the_repositorys_root(repository: Path) -> None:
    """A file above the repository is somebody else's."""
    (repository.parent / "terazi.toml").write_text('threshold = "critical"\n')
    assert resolve(folder=repository, env=env_of(repository)).settings.threshold is Severity.LOW


def test_lists_come_with_commas_from_the_environment() -> None:
    """`TERAZI_FINDERS=a,b` is a list."""
    env = {"TERAZI_FINDERS": "embedded, endpoint", "TERAZI_CONFIG": ""}
    assert resolve(env=env).settings.finders == ("embedded", "endpoint")


def test_none_switches_the_gate_off(repository: Path) -> None:
    """`none` on the command line undoes a repository's gate."""
    (repository / "terazi.toml").write_text('gate = "high"\n')
    assert resolve({"gate": "none"}, folder=repository, env=env_of(repository)).settings.gate is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("threshold = 'severe'", ("threshold", "severe", "critical")),
        ("treshold = 'low'", ("treshold", "did you mean `threshold`")),
        ("threshold = ", ("not valid TOML",)),
        ("deadline_s = -1", ("deadline_s", "greater than 0")),
    ],
)
def test_a_broken_file_is_named_with_key_and_choices(
    repository: Path, text: str, named: tuple[str, ...]
) -> None:
    """The message holds the file's path and what is wrong in it."""
    (repository / "terazi.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        resolve(folder=repository, env=env_of(repository))
    assert str(repository / "terazi.toml") in str(caught.value)
    assert all(word in str(caught.value) for word in named)


def test_a_bad_variable_is_named() -> None:
    """The variable, not an abstract place, stands in the message."""
    with pytest.raises(SettingsError, match="TERAZI_GATE"):
        resolve(env={"TERAZI_GATE": "severe", "TERAZI_CONFIG": ""})


def test_a_named_user_file_must_exist(tmp_path: Path) -> None:
    """A wrong TERAZI_CONFIG is not ignored."""
    with pytest.raises(SettingsError, match="TERAZI_CONFIG"):
        resolve(env={"TERAZI_CONFIG": str(tmp_path / "absent.toml")})


def test_a_server_brings_the_target_branchs_file() -> None:
    """An explicit repository layer replaces what lies in the folder."""
    layer = Layer("main:terazi.toml", {"threshold": "low"}, trusted=False)
    resolved = resolve(repository=layer, env={"TERAZI_CONFIG": ""})
    assert resolved.origins["threshold"] == "main:terazi.toml"

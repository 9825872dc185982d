"""`terazi endpoint check` and `terazi vllm` against a real vLLM, and the command line for this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from review_data.errors import UserError
from service.backends.endpoint import wire
from service.backends.endpoint.check import hit_tokens
from service.backends.endpoint.vllm_command import Machine, Serving, command_line, environment
from tests.support.servers import MODELS, Answer, serving
from tests.support.vllm import VllmServer, free_port
from ui.cli.main import main


def adapter(folder: Path, rank: int) -> Path:
    """A folder that says its rank."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder


@pytest.mark.vllm
def test_check_finds_a_fit_server(vllm_server: VllmServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that a review needs is there: exit code 0, and one line per thing."""
    assert main(["endpoint", "check", "--endpoint", vllm_server.url, "--adapter", "lenient"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^ok +server +.*vLLM \d+\.\d+", output, re.MULTILINE)
    assert "adapters strict, lenient; asked: lenient" in output
    for name in ("structured output", "probabilities", "prefix caching"):
        assert re.search(rf"^ok +{name}", output, re.MULTILINE), output
    assert re.search(r"^(ok|advice) +white space", output, re.MULTILINE)


def test_check_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is down: exit code 3. One that is no vLLM: no probabilities, but usable."""
    monkeypatch.setattr(wire, "BACKOFF_S", 0.01)
    assert main(["endpoint", "check", "--endpoint", f"http://127.0.0.1:{free_port()}/v1"]) == 3
    assert re.match(r"missing +server +.*can't be reached", capsys.readouterr().out)
    reply = {
        "choices": [{"message": {"content": '{"severity": "2", "issues": []}'}, "finish_reason": "stop"}]
    }
    with serving(lambda asked: Answer(body=MODELS if asked.path == "/v1/models" else reply)) as server:
        assert main(["endpoint", "check", "--endpoint", server.url]) == 0
    assert re.search(
        r"^advice +probabilities +none: .*vLLM gives them", capsys.readouterr().out, re.MULTILINE
    )


def test_a_servers_names_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A model's name with escapes and line breaks could write check lines of its own."""
    models = {"data": [{"id": "\x1b[31mm\nok       probabilities      fine"}]}
    reply = {"choices": [{"message": {"content": '{"severity": "2", "issues": []}'}}]}
    with serving(lambda asked: Answer(body=models if asked.path == "/v1/models" else reply)) as server:
        assert main(["endpoint", "check", "--endpoint", server.url]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert not re.search(r"^ok +probabilities", output, re.MULTILINE)


@pytest.mark.vllm
def test_adapters_are_loaded_and_unloaded(
    vllm_server: VllmServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A running server takes an adapter and gives it back; a second load and a path as a name are refused."""
    folder = str(vllm_server.folders["strict"])
    at = ["--endpoint", vllm_server.url]
    assert main(["vllm", "load", "extra", folder, *at]) == 0
    assert main(["vllm", "load", "extra", folder, *at]) == 2
    assert main(["endpoint", "check", *at, "--adapter", "extra"]) == 0
    assert main(["vllm", "unload", "extra", *at]) == 0
    assert main(["vllm", "unload", "extra", *at]) == 2
    assert main(["vllm", "load", "../extra", folder, *at]) == 2
    assert main(["vllm", "load", "extra", str(tmp_path), *at]) == 2
    errors = capsys.readouterr().err
    assert "extra: is served already" in errors
    assert "extra: is not served; the adapters are lenient, strict" in errors
    assert "`../extra` is no name for an adapter" in errors
    assert "is no LoRA adapter" in errors


def test_the_command_line_fits_machine_and_adapters(tmp_path: Path) -> None:
    """The rank is one that vLLM has kernels for, two GPUs serve side by side, blanks are switched off."""
    adapters = {"a": adapter(tmp_path / "a", 4), "b": adapter(tmp_path / "b", 24)}
    command = command_line(
        ["vllm", "serve"], Serving("base", adapters, port=8123), Machine((80.0, 80.0), 256.0)
    )
    text = " ".join(command)
    assert "--max-lora-rank 32 --max-loras 2" in text
    assert f"a={adapters['a']} b={adapters['b']}" in text
    assert "--data-parallel-size 2" in text
    assert '"disable_any_whitespace":true' in text
    assert "--generation-config vllm" in text
    assert {"VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS"} <= environment(Machine((), 16.0)).keys()


def test_an_adapter_that_vllm_cannot_serve_is_refused(tmp_path: Path) -> None:
    """A rank above every kernel, and a folder that is no adapter."""
    with pytest.raises(UserError, match="rank 1024"):
        command_line([], Serving("base", {"a": adapter(tmp_path / "a", 1024)}), Machine((), 16.0))
    with pytest.raises(UserError, match="is no LoRA adapter"):
        command_line([], Serving("base", {"a": tmp_path}), Machine((), 16.0))


def test_serve_prints_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --run nothing is started; a folder that is not there is a mistake."""
    folder = adapter(tmp_path / "rater", 8)
    assert main(["vllm", "serve", "Qwen/Qwen2.5-Coder-1.5B-Instruct", "--adapter", f"rater={folder}"]) == 0
    output = capsys.readouterr().out
    assert "vllm serve Qwen/Qwen2.5-Coder-1.5B-Instruct --host 127.0.0.1" in output
    assert f"--lora-modules rater={folder}" in output
    assert main(["vllm", "serve", "base", "--adapter", "rater=/no/such/folder"]) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["base", "--port", "0"], "'--port'"),
        (["base", "--port", "70000"], "'--port'"),
        (["base", "--context", "-5"], "'--context'"),
        ([""], "MODEL: is empty"),
    ],
)
def test_serve_prints_no_command_that_cannot_work(
    capsys: pytest.CaptureFixture[str], given: list[str], words: str
) -> None:
    """A port that there is not, a negative context, a base without a name: exit code 2, no command."""
    assert main(["vllm", "serve", *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err


def test_serve_looks_where_terazi_adapters_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TERAZI_ADAPTERS and --registry name the registry of `terazi vllm serve` too."""
    place = tmp_path / "registry"
    monkeypatch.setenv("TERAZI_ADAPTERS", str(place))
    assert main(["vllm", "serve", "base", "--adapter", "rater"]) == 2
    monkeypatch.delenv("TERAZI_ADAPTERS")
    assert main(["vllm", "serve", "base", "--adapter", "rater", "--registry", str(place)]) == 2
    assert capsys.readouterr().err.count(f"there is no adapter `rater` in {place}") == 2


def test_serve_drops_no_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two adapters under one name: only the last was served, and nobody said so."""
    for name in ("a", "b"):
        adapter(tmp_path / name, 8)
    named = [f"--adapter=rater={tmp_path / name}" for name in ("a", "b")]
    assert main(["vllm", "serve", "base", *named]) == 2
    assert "`rater` is there already" in capsys.readouterr().err


def test_prefix_cache_counters_are_read_from_metrics() -> None:
    """Counters of all engines are added up, other lines are left alone."""
    text = (
        'vllm:prefix_cache_queries_total{engine="0"} 100.0\nvllm:prefix_cache_hits_total{engine="0"} 80.0\n'
        'vllm:prefix_cache_queries_total{engine="1"} 50.0\n'
        'vllm:prefix_cache_queries_created{engine="0"} 1.7e9\n'
    )
    assert hit_tokens(text) == (150.0, 80.0)


def test_serve_run_becomes_the_server(tmp_path: Path) -> None:
    """With --run the program `vllm` on the PATH takes over, with the printed arguments and environment."""
    program = tmp_path / "vllm"
    program.write_text('#!/bin/sh\necho "$VLLM_ALLOW_RUNTIME_LORA_UPDATING $*"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli.main", "vllm", "serve", "base", "--port", "8123", "--run"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("1 serve base --host 127.0.0.1 --port 8123")


def test_serve_run_without_vllm_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No `vllm` on the PATH and none in this environment: the user's affair, exit code 2."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["vllm", "serve", "base", "--run"]) == 2
    assert "install it in an environment of its own" in capsys.readouterr().err

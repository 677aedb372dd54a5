"""The command line: help with examples for every verb, quick to open, and errors in one line with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from training.cli import VERBS, build_app, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "training", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_with_examples(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "Examples" in told or "Commands" in told


def test_the_overview_lists_every_verb_and_loads_none_of_them():
    """The overview does not wait for machine learning libraries."""
    code = (
        "import sys\nfrom training.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('mlflow', 'lightgbm', 'implicit', 'pandas', 'bentoml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "1", "--root", "{tmp}/none"],
        ["serve", "--root", "{tmp}/none", "--dev"],
        ["serve", "--root", "{tmp}/none", "--dev", "--host", "0.0.0.0"],
        ["train", "--root", "{tmp}/none"],
        ["tune", "ials", "--root", "{tmp}/none"],
        ["audit", "--root", "{tmp}/none"],
        ["ui", "--root", "{tmp}/none"],
        ["recommend", "1", "--shop", "No Shop"],
        ["shop", "dry-run", "{tmp}", "--root", "{tmp}/none"],
        ["shop", "init", "--root", "/dev/null/none"],
        ["stop", "lift", "99999999999999999999", "--root", "{tmp}/none"],
        ["demo", "--source", "online-retail", "--root", "{tmp}/none", "--no-serve"],
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(arguments, tmp_path):
    """What, where, got and what to do; never a traceback."""
    done = run(*(part.replace("{tmp}", str(tmp_path)) for part in arguments))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_verbs_are_refused():
    assert run("tran").returncode == 2


def test_building_the_app_for_a_verb_loads_only_that_verb():
    app = build_app("recommend")
    assert len(app.registered_commands) + len(app.registered_groups) == len(VERBS)


@pytest.mark.parametrize("memory", ["a lot", "1KB"])
def test_a_query_without_memory_is_one_line_and_exit_code_2(memory, tmp_path):
    """An amount that is none, and one that nothing fits into: what to set is named."""
    assert run("simulate", "--size", "tiny", "--out", str(tmp_path)).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "training", "train", "--root", str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "KOKYAKU_QUERY_MEMORY": memory},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr and "KOKYAKU_QUERY_MEMORY" in done.stderr

"""What the source never does: run data, unpack archives, put script into a page; and how findings are reviewed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.bandit_review import complaints

ROOT = Path(__file__).parent.parent
SOURCES = [path for package in ("features", "serving", "training") for path in sorted((ROOT / package).rglob("*.py"))]
TEMPLATES = sorted((ROOT / "serving" / "web" / "templates").rglob("*.html"))
RUNS_DATA = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "yaml"}
UNPACKS = {"tarfile", "zipfile"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "breakpoint"}
LOADS_ARRAYS = {
    "np.load",
    "numpy.load",
    "np.save",
    "numpy.save",
    "np.lib.format.read_array",
    "np.lib.format.write_array",
}


def offences(source: str) -> list[str]:
    """What a file does that none may."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"imports {name}" for name in names if name.split(".")[0] in RUNS_DATA | UNPACKS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in RUNS_TEXT:
                found.append(f"calls {called}")
            if called.endswith(("extractall", "unpack_archive", "read_pickle", "to_pickle")):
                found.append(f"calls {called}")
            if called in LOADS_ARRAYS and said.get("allow_pickle") != "False":
                found.append(f"{called} that may run what it reads")
            if said.get("shell") == "True" or said.get("allow_pickle") == "True":
                found.append(f"{called} with {said}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_or_unpacks_what_it_reads(path):
    """No pickle, no eval, no archive: what comes from outside is data, and stays where it was put."""
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "eval('1')", "np.load(path)", "np.load(p, allow_pickle=True)",
     "import tarfile as t", "run('x', shell=True)", "pd.read_pickle(p)", "shutil.unpack_archive(p)", "import yaml"],
)  # fmt: skip
def test_the_look_sees_what_it_looks_for(source):
    assert offences(source)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_script_style_or_unescaped_words(path):
    """The pages' content policy forbids inline script and style; a template that has some would be broken by it."""
    text = path.read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text) == []
    assert re.findall(r"\son[a-z]+\s*=", text, re.IGNORECASE) == []
    assert re.findall(r"\sstyle\s*=|<style", text, re.IGNORECASE) == []
    assert re.findall(r"javascript:", text, re.IGNORECASE) == []
    assert re.findall(r"\|\s*safe\b|autoescape\s+false|Markup", text) == []
    assert re.findall(r"<[^>{]*\s[\w-]+=\{", text) == [], "an attribute without quotes"


def test_a_finding_that_nobody_looked_at_is_told():
    lines = {("B608", "a.py"): ["a.py:1: B608", "a.py:2: B608"]}
    reviewed = {"reasons": {"B608": "bound"}, "B608": {"a.py": 2}}
    assert complaints({"B608": {"a.py": 2}}, lines, reviewed) == []
    assert len(complaints({"B608": {"a.py": 2}}, lines, {**reviewed, "B608": {"a.py": 1}})) == 2
    assert len(complaints({"B608": {"a.py": 2}}, lines, {**reviewed, "B608": {"a.py": 3}})) == 1
    assert len(complaints({}, {}, reviewed)) == 1
    assert "no reason" in complaints({"B608": {"a.py": 2}}, lines, {**reviewed, "reasons": {}})[0]

"""Deployment files: they parse, and whatever they name is there: metrics, labels, paths, ports, settings, commands."""

from __future__ import annotations

import fnmatch
import inspect
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from features.errors import DataError
from features.shop import Shop
from serving.__main__ import _parser
from serving.access import Access
from serving.artifact import LIVE
from serving.deploy.pins import closure, main, pinned
from serving.http import HANDLERS
from serving.machine import THREADS
from serving.observe import METRICS
from serving.sync import sync
from tests.test_serving.recipe import environment, recipe, words
from tests.test_serving.watched import watched

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "serving" / "deploy"
PROBES = {"/livez", "/readyz"}
FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file() and path.suffix != ".py")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def kind(name: str) -> dict[str, Any]:
    (found,) = [each for each in documents("kubernetes.yaml") if each["kind"] == name]
    return found


def pod(name: str) -> dict[str, Any]:
    spec = kind(name)["spec"]
    return (spec if name == "StatefulSet" else spec["jobTemplate"]["spec"])["template"]["spec"]


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def series(toy_engine) -> dict[str, set[str]]:
    """Name of each series that a worker exposes -> names of its labels."""
    service = watched(toy_engine)
    with service.client:
        service.post("/v1/items", {"items": [{"itemId": "a0", "withdraw": True}]})
        service.post("/v1/recommendations", {"userId": "nobody"})
        service.post("/v1/recommendations", {"userID": "ann"})
        service.post("/v1/pages", {"userId": "ann"})
        service.post("/v1/events", {"events": [{"type": "view", "itemId": "a0", "userId": "ann"}]})
        sync(toy_engine.shop, now=toy_engine.clock.now())
        toy_engine.refresh()
        text = service.client.get(METRICS).text
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel, variable and rule."""
    for group in documents("alerts.yaml")[0]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]


SELECTOR = re.compile(r"\b(kokyaku_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def test_every_metric_and_label_that_is_asked_for_is_exposed(series):
    asked = list(expressions())
    assert len(asked) > 40
    for where, expression in asked:
        names = SELECTOR.findall(expression)
        assert names, where
        for name, selected in names:
            assert name in series, f"{where}: {name}"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selected))
            assert labels <= series[name] | SCRAPED, f"{where}: {name} has no {labels - series[name]}"
        grouped = {
            label.strip()
            for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
            for label in listed.split(",")
        }
        known = set().union(*(series[name] for name, _ in names)) | SCRAPED
        assert grouped <= known, f"{where}: nothing has {grouped - known}"


def test_every_expression_is_closed(series):
    for where, expression in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), where
        if "_total" in expression and not expression.startswith("label_values"):
            assert re.search(r"\b(rate|increase)\(", expression), where


def test_nothing_that_is_exposed_is_watched_by_nobody(series):
    """Each metric of ours has a panel or a rule."""
    text = (DEPLOY / "alerts.yaml").read_text() + (DEPLOY / "dashboard.json").read_text()
    ours = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in series if name.startswith("kokyaku_")}
    assert [name for name in sorted(ours) if name not in text] == []


def test_values_of_labels_in_rules_are_those_of_the_code(series):
    """A typo in a value would make a rule that never fires."""
    text = "\n".join(expression for _, expression in expressions())
    assert set(re.findall(r'how="(\w+)"', text)) <= {"drawn", "reused", "holdout", "fixed"}
    assert set(re.findall(r'why!?="(\w+)"', text)) <= {"requests", "connections", "slow"}
    assert set(re.findall(r'outcome="(\w+)"', text)) <= {"accepted", "duplicate", "rejected"}
    assert set(re.findall(r'since="(\w+)"', text)) <= {"as_of", "published"}
    assert set(re.findall(r'part!?="(\w+)"', text)) <= {"bundle", "history", "settings", "store"}
    assert set(re.findall(r'route="([^"$]+)"', text)) <= set(HANDLERS)


def test_every_rule_says_what_is_wrong_and_what_to_do():
    (group,) = documents("alerts.yaml")[0]["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "remedy"}
        for name in re.findall(r"kokyaku_\w+", rule["annotations"]["remedy"]):
            assert any(name in expression for _, expression in expressions()), name


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w+)", json.dumps([panel.get("targets") for panel in board["panels"]])))
    assert used <= variables
    cells = [
        (x, y)
        for panel in board["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


# --- names ------------------------------------------------------------------------------------------------------------


def test_settings_that_are_named_are_read_somewhere():
    """A setting that nothing reads would be obeyed by nobody."""
    code = "\n".join(
        path.read_text() for folder in ("features", "serving", "training") for path in (PROJECT / folder).rglob("*.py")
    )
    read = set(re.findall(r"KOKYAKU_[A-Z_]+", code))
    for path in FILES:
        named = set(re.findall(r"KOKYAKU_[A-Z_]+", path.read_text()))
        assert named - read == set(), path.name


def test_paths_and_ports_are_those_of_the_service():
    from training.commands.serve import command

    port = inspect.signature(command).parameters["port"].default
    (container,) = pod("StatefulSet")["containers"]
    assert [each["containerPort"] for each in container["ports"]] == [port]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert {probe["path"] for probe in probes} == PROBES
    assert (
        {probe["port"] for probe in probes}
        == {container["ports"][0]["name"]}
        == {kind("Service")["spec"]["ports"][0]["targetPort"]}
    )
    recipe = (DEPLOY / "Containerfile").read_text()
    assert f"EXPOSE {port}\n" in recipe and f'"--port", "{port}"' in recipe
    compose = documents("compose.yaml")[0]["services"]
    assert all(name.endswith(f":{port}") for each in ("replica-1", "replica-2") for name in compose[each]["ports"])
    (scrape,) = documents("prometheus.yaml")[0]["scrape_configs"]
    (static,) = scrape["static_configs"]
    assert scrape["metrics_path"] == METRICS
    assert set(static["targets"]) == {f"{name}:{port}" for name in compose if name.startswith("replica")}
    for path in FILES:
        asked = set(re.findall(r"(?:127\.0\.0\.1|localhost):\d+(/[\w/-]*)", path.read_text()))
        assert asked <= PROBES | {METRICS, *HANDLERS}, path.name


def test_the_folders_that_the_guide_names_are_those_of_a_shop():
    shop = Shop("mine", Path("/shop"))
    real = {
        path.name
        for path in (shop.config, shop.dataset, shop.bundles, shop.histories, shop.policies, shop.decision_logs)
    }
    text = (DEPLOY / "README.md").read_text()
    (listed,) = re.findall(r"`/shop` holds (.*?)\. All", text, re.DOTALL)
    assert {name.rstrip("/") for name in re.findall(r"`([^`]+)`", listed)} == real
    assert f"--exclude {LIVE} " in text and f"bundles/{LIVE} " in text
    mounts = [mount["mountPath"] for mount in pod("StatefulSet")["containers"][0]["volumeMounts"]]
    assert str(shop.decision_logs) in mounts


def commands() -> Iterator[list[str]]:
    """Every command of ours in the files, as words."""
    for path in FILES:
        text = path.read_text().replace("`", "\n")
        for found in re.findall(r"(?:python -m serving|(?<!namespace )kokyaku) [a-z][^\n;\"']*", text):
            yield shlex.split(re.split(r"[,.:)(]\s|[,.]$| in (?:its|one) | by hand| names | says | [>#] ", found)[0])
    for spec in (pod("StatefulSet"), pod("CronJob")):
        for container in (*spec["initContainers"], *spec["containers"]):
            if container.get("command", [""])[0] == "python":
                yield container["command"]


def test_commands_are_those_of_the_program():
    from training.cli import VERBS

    seen = set()
    for given in commands():
        if given[0] == "kokyaku":
            assert given[1] in VERBS or given[1] in {"keys"}, given
        else:
            assert given[:3] == ["python", "-m", "serving"]
            _parser().parse_args(given[3:])
        seen.add((given[0], given[-1]))
    assert {("python", "doctor"), ("python", "sync"), ("kokyaku", "train")} <= seen


# --- the image --------------------------------------------------------------------------------------------------------


def test_the_install_is_that_of_the_readme():
    """`make` runs it; the image adds nothing and leaves out the program itself, which the Bento brings."""
    made = (PROJECT / "Makefile").read_text()
    (install,) = re.findall(r"\$\(BIN\)/(python -m pip install [^\n]*--requirement requirements\.txt)", made)
    assert ("RUN", f".venv/bin/{install}") in recipe()
    bento = [rest for name, rest in recipe() if name == "RUN" and "bentoml build" in rest]
    assert bento == [".venv/bin/python -m bentoml build --version image"]
    pips = [rest for name, rest in recipe() if name == "RUN" and "pip install" in rest]
    assert len(pips) == 2 and all("--require-hashes" in rest for rest in pips)


def test_what_is_copied_is_there_and_let_in():
    lines = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert lines[1] == "*"
    for name, rest in recipe():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (PROJECT / source).exists()
                assert source.rstrip("/") in allowed
    assert not any(fnmatch.fnmatch(name, line) for name in ("shops", ".env", ".venv", "secrets") for line in allowed)


def test_it_runs_as_nobody_in_particular_and_drains():
    instructions = dict(recipe())
    assert instructions["USER"] == "10001:10001" and instructions["STOPSIGNAL"] == "SIGTERM"
    assert "--timeout-graceful-shutdown" in words("CMD")
    env = environment()
    assert {env[name] for name in THREADS} == {"1"}
    assert ("RUN", f"install --directory --owner 10001 --group 10001 {env['KOKYAKU_ROOT']}") in recipe()


# --- what a worker needs ----------------------------------------------------------------------------------------------


def wanted() -> list[str]:
    return yaml.safe_load((PROJECT / "bentofile.yaml").read_text())["python"]["packages"]


def test_the_pins_are_those_that_a_worker_needs_and_no_more():
    text = (PROJECT / "requirements.txt").read_text()
    chosen = pinned(text, wanted())
    names = {line.split("==")[0] for line in chosen.splitlines() if "==" in line}
    assert {"bentoml", "starlette", "uvicorn", "numpy", "prometheus-client"} <= names
    assert names & {"mlflow", "lightgbm", "implicit", "matplotlib", "optuna", "pytest", "ruff"} == set()
    assert all(block in text for block in re.split(r"\n(?=\S)", chosen.strip()))
    assert chosen.count("--hash=") >= len(names)
    assert re.findall("^numpy==.*", chosen, re.MULTILINE) == re.findall("^numpy==.*", text, re.MULTILINE)  # all of them


def test_every_package_that_serving_imports_is_in_the_bento():
    """By the modules that the code imports; what only training may have is no part of `serving`."""
    owners = packages_distributions()
    code = [path for folder in ("features", "serving") for path in (PROJECT / folder).rglob("*.py")]
    found = {
        name
        for path in code
        if "deploy" not in path.parts
        for name in re.findall(r"^\s*(?:import|from) ([a-zA-Z_]\w*)", path.read_text(), re.MULTILINE)
    }
    packages = {owners[name][0].lower().replace("_", "-") for name in found if name in owners}
    assert "starlette" in packages and packages <= closure(wanted()) | {"kokyaku"}, packages - closure(wanted())


def test_the_bento_asks_for_what_the_project_asks_for():
    text = (PROJECT / "pyproject.toml").read_text()
    for line in wanted():
        assert f'"{line}' in text, line


@pytest.mark.parametrize("line", ["no-such-package-of-anybody", "not a requirement at all"])
def test_what_cannot_be_pinned_is_an_error_in_one_line(line, tmp_path, capsys):
    (tmp_path / "pinned.txt").write_text("orjson==1 \\\n    --hash=sha256:0\n")
    (tmp_path / "wanted.txt").write_text(f"# comment\n--option\n{line}\n")
    assert main([str(tmp_path / "pinned.txt"), str(tmp_path / "wanted.txt")]) == 2
    assert capsys.readouterr().err.startswith("error: requirements: ")
    assert main([str(tmp_path / "none"), str(tmp_path / "none")]) == 2
    with pytest.raises(DataError, match="not pinned"):
        pinned("", ["orjson"])


def test_lines_of_other_machines_and_extras():
    assert closure(["orjson; sys_platform == 'win32'"]) == set()
    assert closure(["ibis-framework[duckdb]"]) > closure(["ibis-framework"])


# --- compose and Kubernetes -------------------------------------------------------------------------------------------


def test_compose_names_only_what_it_has():
    compose = documents("compose.yaml")[0]
    for name, service in compose["services"].items():
        assert set(service.get("secrets", [])) <= set(compose["secrets"]), name
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith("./") else source in compose["volumes"], (
                name,
                source,
            )
    rules = documents("prometheus.yaml")[0]["rule_files"]
    assert all((DEPLOY / name).exists() for name in rules)
    build = compose["services"]["replica-1"]["build"]
    assert (DEPLOY / build["context"]).resolve() == PROJECT
    assert (PROJECT / build["dockerfile"]).exists()
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_no_secret_stands_in_a_file():
    """Passwords and keys are named, never written."""
    for path in FILES:
        for found in re.findall(r"(?i)(?:password|key|secret)\w*\s*[:=]\s*([^\s,}]+)", path.read_text()):
            assert not re.fullmatch(r"[A-Za-z0-9+_-][A-Za-z0-9+/_-]{15,}", found), (path.name, found)


def test_whose_word_is_taken_about_clients_is_asked_of_who_deploys():
    """Behind a proxy that is not named all clients are one; one that nobody thought of is not believed by itself."""
    assert "FORWARDED_ALLOW_IPS" in kind("ConfigMap")["data"]
    assert kind("ConfigMap")["data"]["FORWARDED_ALLOW_IPS"] == "", "a network that is none of theirs"
    compose = documents("compose.yaml")[0]["services"]
    for name in ("replica-1", "replica-2"):
        assert compose[name]["environment"]["FORWARDED_ALLOW_IPS"].startswith("${FORWARDED_ALLOW_IPS:?")
    assert environment()["KOKYAKU_LISTEN"] == "0.0.0.0" and "--host" not in words("CMD")
    assert "FORWARDED_ALLOW_IPS" in (DEPLOY / "README.md").read_text()


def test_kubernetes_objects_fit_together():
    workload, service = kind("StatefulSet"), kind("Service")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    for selector in (
        workload["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert {each["metadata"]["namespace"] for each in documents("kubernetes.yaml")} == {"kokyaku"}
    assert (
        kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] != labels
    )  # gets no requests
    assert kind("CronJob")["spec"]["concurrencyPolicy"] == "Forbid"
    claims, maps = {kind("PersistentVolumeClaim")["metadata"]["name"]}, {kind("ConfigMap")["metadata"]["name"]}
    for name in ("StatefulSet", "CronJob"):
        spec = pod(name)
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
        } == claims
        for container in (*spec["initContainers"], *spec["containers"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", [])} <= maps
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"] and "cpu" not in container["resources"]["limits"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        settings = kind("ConfigMap")["data"]
        mounts = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
        for setting in ("KOKYAKU_ROOT", "KOKYAKU_KEY_FILE", "KOKYAKU_SECRET_FILE"):
            assert any(Path(settings[setting]).is_relative_to(mount) for mount in mounts), setting


def test_there_is_time_to_leave():
    """preStop, what was taken in, the moment before it and the drain after it fit into the grace period."""
    graceful = int(words("CMD")[words("CMD").index("--timeout-graceful-shutdown") + 1])
    spec = pod("StatefulSet")
    wait = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= wait + graceful + 10
    for name in ("replica-1", "replica-2"):
        assert int(documents("compose.yaml")[0]["services"][name]["stop_grace_period"].rstrip("s")) >= graceful + 10


def test_the_copied_secrets_are_such_as_the_service_takes(tmp_path):
    """The init container's own command, on files that the group can read, as Kubernetes mounts them."""
    given, keys = tmp_path / "given", tmp_path / "keys"
    given.mkdir()
    keys.mkdir()
    (given / "keys.json").write_text('[{"key": "k", "scopes": ["read"]}]')
    (given / "secret.key").write_bytes(bytes(32))
    for path in given.iterdir():
        path.chmod(0o440)
    for name in ("StatefulSet", "CronJob"):
        (init,) = pod(name)["initContainers"]
        moved = [re.sub(r"^/(given|keys)(?=/|$)", rf"{tmp_path}/\1", word) for word in init["command"]]
        subprocess.run(moved, check=True)
        setting = kind("ConfigMap")["data"]["KOKYAKU_KEY_FILE"].replace("/keys", str(keys), 1)
        assert len(Access.from_environment({"KOKYAKU_KEY_FILE": setting}).keys) == 1
        assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}

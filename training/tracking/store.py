"""A shop's runs and registered model in its MLflow store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import NotFoundError
from features.shop import Shop
from training.tracking.client import opened
from training.tracking.runs import Run

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that is there: its id, whether it ended well, and its tags."""

    id: str
    finished: bool
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the shop's registered model."""

    number: int
    run_id: str
    created_at: int
    """Microseconds."""
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def bundle_id(self) -> str:
        """The bundle that this version publishes."""
        return self.tags.get("bundle_id", "")

    @property
    def accepted(self) -> bool:
        """Whether the gate's verdict lets it serve."""
        return self.tags.get("verdict") == "accepted"


class Tracking:
    """A shop's MLflow store, made on first use.

    Args:
        shop: whose store it is.
        monitor: runs are of the experiment for monitoring, not of that for training.

    Raises:
        DataError: the database belongs to another version of MLflow.
        RegistryUnavailable: it cannot be opened, or not be asked: every method may raise it.
    """

    def __init__(self, shop: Shop, *, monitor: bool = False) -> None:
        self.shop = shop
        self._client, self._experiment = opened(shop, monitor=monitor)

    def run(self, name: str, tags: Mapping[str, str] | None = None) -> Run:
        """A top-level run, to be used as a context manager: it ends FINISHED, FAILED on an error, KILLED on Ctrl-C."""
        return Run.made(self, name, tags or {}, parent=None)

    def continued(self, name: str, key: str, value: str, tags: Mapping[str, str] | None = None) -> Run:
        """The top-level run that carries a tag, to go on with it; made where there is none, or where it was deleted."""
        found = self.kept(key, value)
        if not found:
            return self.run(name, {key: value, **(tags or {})})
        return Run(self, found[0].id, self._client.get_run(found[0].id).info.artifact_uri)

    def kept(self, key: str, value: str) -> list[Kept]:
        """Runs that carry a tag, oldest first, without those that somebody deleted."""
        from mlflow.entities import ViewType

        found = self._search(key, value, ViewType.ACTIVE_ONLY)
        return [Kept(run.info.run_id, run.info.status == "FINISHED", dict(run.data.tags)) for run in found]

    def delete(self, run_id: str) -> None:
        """Delete a run; MLflow keeps deleted ones until it is told to forget them."""
        self._client.delete_run(run_id)

    def artefact(self, run_id: str, path: str) -> Path:
        """Where a file of a run lies: not MLflow's stored URI, which is absolute, as a shop's folder may have moved."""
        return self.shop.mlflow_artifacts / run_id / "artifacts" / path

    def tagged(self, key: str, value: str) -> list[dict[str, str]]:
        """Tags of all runs that carry a tag, oldest first; also of runs that somebody deleted."""
        from mlflow.entities import ViewType

        return [dict(run.data.tags) for run in self._search(key, value, ViewType.ALL)]

    def _search(self, key: str, value: str, view: int) -> Iterator[Any]:
        """Runs of MLflow that carry a tag, oldest first."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{key}` = '{value}'", run_view_type=view, max_results=1000,
                order_by=["attributes.start_time ASC"], page_token=token,
            )  # fmt: skip
            yield from page
            token = page.token
            if not token:
                return

    def register(
        self, run: Run, bundle_id: str, files: Mapping[str, bytes], tags: Mapping[str, str], about: str = ""
    ) -> int:
        """A new version of the registered model that points at a bundle.

        The version holds no model object: its artefacts are the small files given (recipe, manifest, verdict),
        and the tag `bundle_id` names the folder under `shop.bundles`.

        Args:
            run: the run that made it; the files are stored under its `bundle/`.
            bundle_id: name of the bundle.
            files: file name -> content.
            tags: further tags; `verdict` must be `accepted` or `refused`.
            about: what a person reads beside it.

        Returns:
            The version's number.
        """
        for name, content in files.items():
            run.log_file(f"bundle/{name}", content)
        made = self._client.create_model_version(
            self.shop.registered_model, source=f"{run.artifact_uri}/bundle", run_id=run.id,
            tags={"bundle_id": bundle_id, **tags}, description=about,
        )  # fmt: skip
        return int(made.version)

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        name = self.shop.registered_model
        aliases = self._aliases()
        found = self._client.search_model_versions(f"name = '{name}'", max_results=1000)
        made = [
            Version(
                int(v.version), v.run_id, v.creation_timestamp * 1000, dict(v.tags),
                tuple(sorted(alias for alias, number in aliases.items() if number == int(v.version))),
            )
            for v in found
        ]  # fmt: skip
        return sorted(made, key=lambda v: -v.number)

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            NotFoundError: there is none of that number.
        """
        for made in self.versions():
            if made.number == number:
                return made
        raise NotFoundError("no such model version", got=number, hint="kokyaku models lists them")

    def alias(self, alias: str) -> Version | None:
        """The version that an alias names, or None."""
        number = self._aliases().get(alias)
        return None if number is None else self.version(number)

    def set_alias(self, alias: str, number: int) -> None:
        """Let an alias name that version."""
        self._client.set_registered_model_alias(self.shop.registered_model, alias, str(number))

    def drop_alias(self, alias: str) -> None:
        """Let an alias name nothing."""
        self._client.delete_registered_model_alias(self.shop.registered_model, alias)

    def tag_version(self, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.shop.registered_model, str(number), key, value)

    def read(self, made: Version, name: str) -> bytes:
        """A file that was registered with a version.

        Raises:
            NotFoundError: the file is gone.
        """
        path = self.artefact(made.run_id, f"bundle/{name}")
        if not path.exists():
            raise NotFoundError(f"version {made.number} has lost a file", where=str(path), hint="train again")
        return path.read_bytes()

    def _aliases(self) -> dict[str, int]:
        model = self._client.get_registered_model(self.shop.registered_model)
        return {alias: int(number) for alias, number in model.aliases.items()}

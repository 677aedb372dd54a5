"""One shop: every path, name, key and salt derives from it, and it is passed in, never looked up."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from features.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Shop:
    """A shop's id and the folder that holds all it has.

    Args:
        id: lower-case name, letters, digits and dashes.
        root: its folder; created on first write.
    """

    id: str
    root: Path

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.id):
            hint = "use lower-case letters, digits and dashes, at most 63"
            raise ConfigError("not a shop id", where="--shop", got=self.id, hint=hint)

    @property
    def config(self) -> Path:
        """`shop.toml`, the shop's own words."""
        return self.root / "shop.toml"

    @property
    def dataset(self) -> Path:
        """The folder of typed Parquet tables."""
        return self.root / "dataset"

    @property
    def tuned(self) -> Path:
        """`tuned.toml`, parameters that tuning found better than the defaults."""
        return self.root / "tuned.toml"

    @property
    def studies(self) -> Path:
        """What tuning has tried so far, a file a study."""
        return self.root / "tuning"

    @property
    def bundles(self) -> Path:
        """Published bundles and the pointer to the live one."""
        return self.root / "bundles"

    @property
    def policies(self) -> Path:
        """Learned policies for slots, a folder each."""
        return self.root / "policies"

    @property
    def reports(self) -> Path:
        """Pages that were asked for, such as a month's account."""
        return self.root / "reports"

    @property
    def histories(self) -> Path:
        """Mapped per-customer histories and the pointer to the live one."""
        return self.root / "histories"

    @property
    def store(self) -> Path:
        """The store's SQLite file."""
        return self.root / "store.db"

    @property
    def decision_logs(self) -> Path:
        """Per-worker framed logs of decisions, drained into the store."""
        return self.root / "decisions"

    @property
    def clock(self) -> Path:
        """How far the shop's time lies from the machine's; only demos on historical data have one."""
        return self.root / "clock.json"

    @property
    def mlflow_db(self) -> Path:
        """The tracking database."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Plots, tables and reports of runs."""
        return self.root / "mlartifacts"

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return f"kokyaku/{self.id}"

    @property
    def registered_model(self) -> str:
        """Name of the registered model."""
        return f"kokyaku-{self.id}"

    @property
    def keys(self) -> Path:
        """API keys as hashes, in a file only its owner can read."""
        return self.root / "keys.json"

    @cached_property
    def secret(self) -> bytes:
        """32 random bytes of this shop, made on first use and kept in a file only its owner can read.

        Keys of tombstones and cookies and the salt of assignments derive from it, so hashes of one
        shop say nothing about another's.
        """
        path = self.root / "secret.key"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(draft, path)  # fails when another process was first: then its key is the key
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()

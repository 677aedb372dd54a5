"""One shop: every path, name, key and salt derives from it, and it is passed in, never looked up."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from features.errors import ConfigError
from features.files import sync_folder
from features.text import UnitHash

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET_BYTES = 32
_LOST = (
    "bring it back from a backup: without it nobody who was erased is known as such;"
    " where nobody was, delete it, and the next start makes one"
)


@dataclass(frozen=True)
class Shop:
    """A shop's id and the folder that holds all it has.

    Args:
        id: lower-case name, letters, digits and dashes.
        root: its folder; created on first write.
        store_url: address of the PostgreSQL that holds its store, password included, so it is never shown; None: the
            store is a file in the folder.
        secret_file: where its secret lies, when replicas on several machines are given the same one; None: in the
            folder.
    """

    id: str
    root: Path
    store_url: str | None = field(default=None, repr=False)
    secret_file: Path | None = None

    @classmethod
    def from_environment(cls, id: str, root: Path, environment: Mapping[str, str] = os.environ) -> Shop:
        """The shop of that name, with what the environment says of it: `KOKYAKU_STORE` and `KOKYAKU_SECRET_FILE`."""
        secret_file = environment.get("KOKYAKU_SECRET_FILE")
        url = environment.get("KOKYAKU_STORE") or None
        return cls(id, root, url, Path(secret_file).absolute() if secret_file else None)

    @property
    def environment(self) -> dict[str, str]:
        """What names this shop to another process, and nothing else that may stand in its environment."""
        return {
            "KOKYAKU_ROOT": str(self.root), "KOKYAKU_SHOP": self.id, "KOKYAKU_STORE": self.store_url or "",
            "KOKYAKU_SECRET_FILE": str(self.secret_file or ""),
        }  # fmt: skip

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
    def unfinished(self) -> Path:
        """Fits of a training that has not come to its end."""
        return self.root / "unfinished"

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
    def monitor_experiment(self) -> str:
        """Name of the MLflow experiment that keeps the health of data and answers over time."""
        return f"{self.experiment}-monitor"

    @property
    def registered_model(self) -> str:
        """Name of the registered model."""
        return f"kokyaku-{self.id}"

    @property
    def keys(self) -> Path:
        """API keys as hashes, in a file only its owner can read."""
        return self.root / "keys.json"

    @property
    def secret_path(self) -> Path:
        """The file of the secret."""
        return self.secret_file or self.root / "secret.key"

    @cached_property
    def holdout(self) -> UnitHash:
        """Where somebody stands in [0, 1), for good, by kind and id: the lowest get what is the same for all."""
        return UnitHash("holdout", self.id, self.secret.hex())

    @cached_property
    def secret(self) -> bytes:
        """32 random bytes of this shop, made on first use and kept in a file only its owner can read.

        Keys of tombstones and cookies and the salt of assignments derive from it, so hashes of one
        shop say nothing about another's.

        Raises:
            ConfigError: it cannot be read or is no secret. One that `secret_file` names is never made, since another
                replica's would be another one; nor is one anew where something stands, since tombstones depend on it.
        """
        if self.secret_file is not None:
            return _read_secret(self.secret_file, hint="copy secret.key of the first replica")
        if not self.secret_path.exists():
            _make_secret(self.secret_path)
        return _read_secret(self.secret_path, hint=_LOST)


def _make_secret(path: Path) -> None:
    """On the disk before anything is told under it: what is kept of the erased means nothing without it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails when another process was first: then its key is the key
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read_secret(path: Path, *, hint: str) -> bytes:
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise ConfigError("no secret can be read", where=str(path), got=error.strerror, hint=hint) from error
    if len(secret) < _SECRET_BYTES:
        raise ConfigError("the secret is too short", where=str(path), got=f"{len(secret)} bytes", hint=hint)
    return secret

"""Artefacts: folders of flat arrays that every worker maps read-only.

A bundle (what was learned of items) and a history (what each customer did) are both artefacts:
`manifest.json` and one `.npy` file an array. Nothing in it is executable; no pickle is ever written or read.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from features.errors import BundleError
from features.files import file_sha256, sync_folder, write_atomically
from features.ids import Array
from features.pace import breathe
from serving import artifact_signatures, large_pages

MANIFEST = "manifest.json"
LIVE = "live.json"
AGAIN = "publish it again"


@dataclass(frozen=True)
class Artifact:
    """An opened artefact: its manifest and its arrays, mapped."""

    manifest: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @classmethod
    def open(
        cls, folder: Path, *, kind: str, format: int, verify: bool = True, sparse: Collection[str] = ()
    ) -> Artifact:  # fmt: skip
        """Map an artefact.

        Args:
            folder: where it lies.
            kind: what it must be, e.g. "bundle".
            format: the newest format that this program reads.
            verify: compare every file with its checksum first.
            sparse: arrays of which a request reads one place and no other (`serving.large_pages`).

        Raises:
            BundleError: it is missing, damaged, of another kind, or newer than this program.
        """
        manifest = read_manifest(folder)
        if manifest.get("kind") != kind:
            raise BundleError(f"not a {kind}", where=str(folder), got=manifest.get("kind"))
        if manifest.get("format", 0) > format:
            raise BundleError(f"a {kind} of a newer Kokyaku", where=str(folder), got=manifest["format"], hint="update")
        if verify:
            verify_files(folder, manifest)
        try:
            names = manifest["files"]
            return cls(manifest, {name: _map(folder / f"{name}.npy", large=name not in sparse) for name in names})
        except OSError as error:
            raise _unreadable(folder, error) from error
        except KeyError:
            raise BundleError("the manifest is damaged", where=str(folder / MANIFEST), hint=AGAIN) from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artefact's folder.

    Raises:
        BundleError: there is none, it is no JSON object, it cannot be read, it names files outside its folder, or it
            is not signed where it should be.
    """
    raw = _manifest_bytes(folder)
    artifact_signatures.check(folder, raw)
    return _parsed(folder, raw)


def _parsed(folder: Path, raw: bytes) -> dict[str, Any]:
    try:
        manifest = orjson.loads(raw)
    except orjson.JSONDecodeError:
        manifest = None
    if not isinstance(manifest, dict) or not _stays_inside(manifest.get("files", {})):
        raise BundleError("the manifest is damaged", where=str(folder / MANIFEST), hint=AGAIN)
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleError("no manifest here", where=str(path), hint="train and promote a model first") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def write_artifact(
    folder: Path, arrays: Mapping[str, Array], manifest: Mapping[str, Any], *, sparse: Collection[str] = ()
) -> None:  # fmt: skip
    """Write arrays, manifest and signature (where a key is configured) as a whole: to a draft folder, then renamed.

    Args:
        folder: where.
        arrays, manifest: what.
        sparse: as for `Artifact.open`.

    Raises:
        BundleError: the folder exists already; artefacts are never changed in place.
        ConfigError: the signing key cannot be used.
    """
    if folder.exists():
        raise BundleError("an artefact of this name exists", where=str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        files = {name: _save(draft / f"{name}.npy", array) for name, array in sorted(arrays.items())}
        for name in arrays.keys() - set(sparse):
            large_pages.read_again(draft / f"{name}.npy")
        body = orjson.dumps({**manifest, "files": files}, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        write_atomically(draft / MANIFEST, body)
        artifact_signatures.sign(draft, body)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def sign_again(folder: Path, *, changed: Collection[str] = ()) -> bool:
    """Sign an artefact that lies there already, after a look at its files.

    Args:
        folder: where it lies.
        changed: files that were changed in place, and are not compared.

    Returns:
        Whether a signing key is configured.

    Raises:
        BundleError: it is damaged.
        ConfigError: the signing key cannot be used.
    """
    raw = _manifest_bytes(folder)
    verify_files(folder, _parsed(folder, raw), changed=changed)
    return artifact_signatures.sign(folder, raw)


def publish_live(parent: Path, name: str, **notes: str) -> None:
    """Point readers at the artefact `parent/name`; they swap when they next look.

    Args:
        parent, name: of the artefact.
        notes: what is to be known of it also where it is damaged.
    """
    write_atomically(parent / LIVE, orjson.dumps({**notes, "live": name}))


def live_name(parent: Path) -> str | None:
    """The name of the live artefact, or None when nothing was published yet.

    Raises:
        BundleError: what says so is damaged or cannot be read.
    """
    path = parent / LIVE
    try:
        name = orjson.loads(path.read_bytes())["live"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BundleError("it does not name what is live", where=str(path), hint=AGAIN) from None
    if not isinstance(name, str) or not is_name(name):
        raise BundleError("it does not name what is live", where=str(path), got=name, hint=AGAIN)
    return name


def is_name(text: str) -> bool:
    """Whether this can be the name of a folder's entry, and leads nowhere else.

    >>> is_name("20171201T000000Z-blend"), is_name("../live"), is_name("/etc"), is_name(".draft"), is_name("a\\0")
    (True, False, False, False, False)
    """
    return bool(text) and not text.startswith(".") and not set(text) & {"/", "\\", "\0"}


def _stays_inside(files: object) -> bool:
    return isinstance(files, dict) and all(map(is_name, files))


def others(parent: Path, name: str) -> list[str]:
    """The artefacts beside `name`, the newest first."""
    found = [path.parent for path in parent.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    found.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    return [folder.name for folder in found if folder.name != name]


def _save(path: Path, array: Array) -> dict[str, Any]:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError("it cannot be read", where=str(path), got=error.strerror, hint="look at the disk")


def _map(path: Path, *, large: bool) -> Array:
    try:
        array = np.lib.format.open_memmap(str(path), mode="r")  # a path would be resolved, folder by folder
    except (OSError, ValueError) as error:
        raise BundleError("an array cannot be read", where=str(path), got=str(error), hint=AGAIN) from None
    breathe()
    if large:
        large_pages.wanted(array)
    # A plain view: indexing a memmap object costs a microsecond of subclass handling each time.
    return np.asarray(array)


def verify_files(
    folder: Path, manifest: Mapping[str, Any], *, changed: Collection[str] = (), hint: str = AGAIN
) -> None:
    """Compare every file with its checksum, but for those that were changed in place; these must be there.

    Raises:
        BundleError: a file is missing or differs.
    """
    try:
        for name, entry in manifest["files"].items():
            path = folder / f"{name}.npy"
            if not path.exists():
                raise BundleError("a file is missing", where=str(path), hint=hint)
            if name not in changed and file_sha256(path) != entry["sha256"]:
                raise BundleError("a file does not match its checksum", where=str(path), hint=hint)
    except OSError as error:
        raise _unreadable(folder, error) from error
    except (KeyError, TypeError):
        raise BundleError("the manifest is damaged", where=str(folder / MANIFEST), hint=hint) from None

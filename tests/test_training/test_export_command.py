"""`kokyaku export --out`: personal data in a file that only its owner may read, or one line of why not."""

from __future__ import annotations

import orjson
import pytest

from features.errors import ConfigError
from serving import ops
from training.commands.export import command


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(ops, "export_customer", lambda shop, customer: {"userId": customer})


def test_only_the_owner_may_read_the_file_also_where_there_was_one(told, tmp_path):
    out = tmp_path / "ann.json"
    out.write_text("an older and longer file, for everybody to read")
    out.chmod(0o644)
    command("ann", shop="toy", root=tmp_path, out=out)
    assert orjson.loads(out.read_bytes()) == {"userId": "ann"} and out.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_said(told, tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        command("ann", shop="toy", root=tmp_path, out=tmp_path / "none" / "ann.json")

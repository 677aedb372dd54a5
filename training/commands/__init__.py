"""One module a verb; `training.cli` loads it when the verb is called, so `--help` stays fast."""

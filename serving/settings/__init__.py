"""The tables of `shop.toml`, one module a subject; `serving.config` reads and checks the whole file."""

"""What a `shop.toml` may hold and hardly means, one module a subject; `serving.shop_check` runs them all."""

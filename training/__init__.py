"""History becomes an evaluated, registered, published bundle. May import serving and features."""

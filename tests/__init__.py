"""A package, so that none of the same name in site-packages (pgx has one) is taken for it."""

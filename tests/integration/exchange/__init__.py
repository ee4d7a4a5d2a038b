"""Exchange between two catalogs."""

"""Truth maintenance: repository and stations against the catalog, backups of it, the trash."""

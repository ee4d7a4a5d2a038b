"""Publication of the catalog as open files and to other servers."""

"""The repository of files: layout, atomic placement, trash."""

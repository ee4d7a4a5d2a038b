"""The keys of the answer, as deployed templates know them; they are not ours to change."""

from __future__ import annotations

ANSWER_KEYS = frozenset(
    {
        *("id_host", "host_files", "pending_host_task", "last_host_check", "host_check_error"),
        *("pending_backup", "last_backup", "backup_error"),
        *("pending_processing", "processing_error", "last_processing"),
        *("status", "message", "request", "status_query", "message_query"),
    }
)
OWN_KEYS = frozenset({"host_check_message", "backup_message"})
"""Further keys, which say in words what the last error was."""

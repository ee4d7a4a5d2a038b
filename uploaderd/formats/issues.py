"""Collecting what is wrong in a file, in bounded memory."""

from __future__ import annotations

from collections import Counter

from uploaderd.formats.model import Issue

MAX_OF_A_KIND = 100
"""Issues of one kind that are listed; the rest are counted in one `more_issues` entry."""


class IssueLog:
    """Issues in the order met: `MAX_OF_A_KIND` of each kind, and a count of the others."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, **where: int | str) -> None:
        """Notes one issue; see `Issue` for the arguments' meaning."""
        self._counts[kind] += 1
        if self._counts[kind] <= MAX_OF_A_KIND:
            self._issues.append(Issue(kind, where))

    def result(self) -> tuple[Issue, ...]:
        """All that was noted; `more_issues` entries say what was not listed."""
        more = [
            Issue("more_issues", {"of": kind, "count": count - MAX_OF_A_KIND})
            for kind, count in self._counts.items()
            if count > MAX_OF_A_KIND
        ]
        return (*self._issues, *more)

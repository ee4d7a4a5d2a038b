"""Two catalogs on one server, the inbox of the second, and the way there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.database import Database
from lab.sshd import Sshd
from uploaderd.catalog import Catalog
from uploaderd.catalog.migrate import migrate
from uploaderd.exchange import inbox
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.sending import Plan, Sent, send
from uploaderd.exchange.sftp_target import SftpTarget
from uploaderd.exchange.watermark import LOAD_ORDER
from uploaderd.maintenance.backup import contents
from uploaderd.station.access import Access


@dataclass
class Pair:
    """A catalog that sends and one that receives."""

    ours: Catalog
    theirs: Catalog
    inbox: Path
    plan: Plan
    access: Access

    def target(self) -> SftpTarget:
        """The inbox by SFTP."""
        return SftpTarget(self.access, str(self.inbox), self.plan.sender)

    def send(self, *, complete: bool = False) -> Sent:
        """One run of the sender."""
        with self.target() as target:
            return send(self.ours, target, self.plan, complete=complete)

    def receive(self) -> list[Receipt]:
        """One look of the receiver."""
        found = list(inbox.take_in(self.theirs, self.inbox))
        inbox.tell_all(self.theirs, self.inbox)
        return found


def differences(one: Catalog, other: Catalog) -> list[str]:
    """Tables and chunks whose rows are not the same."""
    wrong = []
    for table in LOAD_ORDER:
        columns = [(name, kind) for name, kind, _ in one.columns(table)]
        if contents(one, table, columns) != contents(other, table, columns):
            wrong.append(table)
    return wrong


@pytest.fixture
def other(database: Database) -> Iterator[Catalog]:
    """A second migrated database."""
    settings = replace(database.settings, database=f"t{uuid.uuid4().hex[:12]}")
    migrate(settings)
    with Catalog(settings) as catalog:
        yield catalog
        catalog.execute(f"DROP DATABASE {settings.database}")


@pytest.fixture
def pair(catalog: Catalog, other: Catalog, sshd: Sshd, tmp_path: Path) -> Pair:
    """The two, and a folder of the station's sshd as inbox."""
    access = Access(
        sshd.host,
        sshd.port,
        sshd.user,
        key_file=sshd.key_file,
        known_hosts=tmp_path / "known_hosts",
    )
    plan = Plan("north", tmp_path / "outbox")
    return Pair(catalog, other, tmp_path / "inbox", plan, access)

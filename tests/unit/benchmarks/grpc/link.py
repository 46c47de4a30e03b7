"""One of our ends of a connection and h2, an independent HTTP/2 library, as the other: bytes are carried by hand."""

import asyncio
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.settings import SettingCodes, Settings

from benchmarks.grpc.frames import Peer


class _Line:
    """As a transport, but what is written waits to be carried."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class Link:
    def __init__(self, ours: Peer, *, client_side: bool, table_bytes: int | None = None) -> None:
        """`client_side`: h2 is the client. `table_bytes`: the table that h2 allows us."""
        self.ours, self.line = ours, _Line()
        config = H2Configuration(client_side=client_side, header_encoding="utf-8", validate_inbound_headers=True)
        self.h2 = H2Connection(config)
        if table_bytes is not None:
            self.h2.local_settings = Settings(client_side, {SettingCodes.HEADER_TABLE_SIZE: table_bytes})
            self.h2.decoder.max_allowed_table_size = table_bytes
        self.h2.initiate_connection()
        ours.connection_made(cast(asyncio.BaseTransport, self.line))

    def carry(self) -> list[Event]:
        """Both ways until nothing is left. Returns what h2 saw."""
        seen: list[Event] = []
        while True:
            to_us, self_written = self.h2.data_to_send(), self.line.written
            self.line.written = b""
            if not to_us and not self_written:
                return seen
            if to_us:
                self.ours.data_received(to_us)
            if self_written:
                seen += self.h2.receive_data(self_written)

"""What a Runner does with named connections to stores."""

from __future__ import annotations

from typing import Any

from contracts.connection import Connection, Secret
from registry import connections as rows
from runner import connections
from runner.installation import Installation


class ConnectionVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def add_connection(
        self,
        name: str,
        *,
        endpoint: str = "",
        region: str = "",
        bucket: str = "",
        prefix: str = "",
        access_key: str = "",
        secret: str = "",
        profile: str = "",
        authority: str = "",
        addressing: str = "auto",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Keeps a way to a store; nobody is asked yet. The secret goes into a file that only the owner of the home may read."""
        given = Connection(
            name=name,
            endpoint=endpoint.rstrip("/"),
            region=region,
            bucket=bucket,
            prefix=prefix,
            access_key=access_key,
            secret=Secret(secret),
            profile=profile,
            authority=authority,
            addressing=addressing,
        )
        return connections.view(connections.add(self._installation, given, overwrite=overwrite))

    def list_connections(self) -> list[dict[str, Any]]:
        """By name; secrets are masked, here and everywhere."""
        with self._installation.database.reading() as session:
            return [connections.view(record) for record in rows.list_connections(session)]

    def get_connection(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            return connections.view(rows.get_connection(session, name))

    def check_connection(self, name: str, address: str = "") -> dict[str, Any]:
        """Asks the store once: at the address, the connection's own bucket, or for its buckets. Raises what it answers."""
        from runner.sources import check_source

        return {"name": name, "answer": check_source(connections.get(self._installation, name), address)}

    def remove_connection(self, name: str) -> dict[str, Any]:
        """Forgets it and its secret; what was stored through it stays."""
        return connections.view(connections.remove(self._installation, name))

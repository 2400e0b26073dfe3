"""Named connections: one row each, replaced only when that was said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.errors import ConflictError, NotFoundError
from registry import connections
from registry.connections import ConnectionRecord
from registry.database import Database

TEAM = ConnectionRecord("team", "https://host", "eu", "pictures", "sets/", "key", "", "", "path", "team-1")


def test_a_connection_is_kept_listed_and_forgotten(database: Database) -> None:
    other = replace(TEAM, name="another", secret_file="")
    with database.writing() as session:
        assert connections.put_connection(session, TEAM) is None
        connections.put_connection(session, other)
    with database.writing() as session:
        assert connections.list_connections(session) == [other, TEAM]
        assert connections.get_connection(session, "team") == TEAM
        assert connections.remove_connection(session, "another") == other
        assert connections.list_connections(session) == [TEAM]


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(database: Database) -> None:
    newer = replace(TEAM, endpoint="https://newer", secret_file="team-2")
    with database.writing() as session:
        connections.put_connection(session, TEAM)
    with pytest.raises(ConflictError, match="'team' already"), database.writing() as session:
        connections.put_connection(session, newer)
    with database.writing() as session:
        assert connections.put_connection(session, newer, overwrite=True) == TEAM
        assert connections.list_connections(session) == [newer]


def test_an_unknown_name_is_answered_with_the_closest(database: Database) -> None:
    with database.writing() as session:
        connections.put_connection(session, TEAM)
        for call in (connections.get_connection, connections.remove_connection):
            with pytest.raises(NotFoundError, match="Did you mean team"):
                call(session, "teem")

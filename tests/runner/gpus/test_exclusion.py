"""No card has two holders, whoever leases at once and whatever happens to the cards."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.errors import EngineGoneError, NoGpuError
from registry.database import Database
from tests.runner.gpus.rivals import lease_at_random

if TYPE_CHECKING:
    from tests.runner.gpus.conftest import Host

ROOT = Path(__file__).resolve().parents[3]
CARDS = 4


def test_eight_threads_that_lease_at_once_never_share_a_card(host: Host, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda worker: lease_at_random(host.pool, worker, tmp_path), range(8)))
    assert sum(got) > 0
    assert host.states() == ["free"] * CARDS


def test_processes_that_lease_at_once_never_share_a_card(host: Host, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runner.gpus.rivals", tmp_path / "sluice.db", host.name]
    rivals = [subprocess.Popen([*command, str(worker), tmp_path], cwd=ROOT, stdout=subprocess.PIPE) for worker in range(4)]
    answers = [rival.communicate()[0] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 4
    assert sum(map(int, answers)) > 0
    assert host.states() == ["free"] * CARDS


# ------------------------------------------------------------------------------------------------------- any course of events


class Courses(RuleBasedStateMachine):
    """Jobs come and go while processes, containers and failures appear on the cards; ``held`` is what the leases should be."""

    database: Database  # one for all courses: each has a host of its own
    host_class: type[Host]
    file: Path
    jobs = itertools.count(1)

    @initialize()
    def begin(self) -> None:
        self.host = self.host_class(self.database, self.file, CARDS)
        self.held: dict[str, tuple[str, ...]] = {}

    @rule(count=st.integers(1, CARDS + 1))
    def lease(self, count: int) -> None:
        job_id, free = f"t{next(self.jobs):07d}", self._free()
        try:
            uuids = self.host.pool.lease(job_id, 1, count)
        except NoGpuError:
            assert len(free) < count
        except EngineGoneError:
            assert self.host.engine_away
        else:
            assert list(uuids) == free[:count]
            self.held[job_id] = uuids

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lease_again(self, data: Any) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.held)))
        assert self.host.pool.lease(job_id, 1, len(self.held[job_id])) == self.held[job_id]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.held)))
        self.host.pool.release(job_id, 1)
        del self.held[job_id]

    @rule(
        index=st.integers(0, CARDS - 1), what=st.sampled_from([{}, {"error": "lost"}, {"processes": [{"pid": 1}]}, {"used_bytes": 2**33}])
    )
    def change_card(self, index: int, what: dict[str, Any]) -> None:
        self.host.set_card(index, **what)

    @rule(claims=st.dictionaries(st.sampled_from(["GPU-0", "GPU-3", "1", "*"]), st.just("web"), max_size=2))
    def change_claims(self, claims: dict[str, str]) -> None:
        self.host.claims = claims

    @rule(away=st.booleans())
    def change_engine(self, away: bool) -> None:
        self.host.engine_away = away

    @invariant()
    def the_list_names_exactly_the_holders(self) -> None:
        shown = {card["uuid"]: card["holder"] for card in self.host.pool.list_gpus() if card["holder"] in self.held}
        assert shown == {uuid: job_id for job_id, uuids in self.held.items() for uuid in uuids}

    def _free(self) -> list[str]:
        """The free cards, said another way than the code does."""
        leased = {uuid for uuids in self.held.values() for uuid in uuids}
        bare = [card["uuid"] for card in self.host.cards if set(card) == {"uuid"}]
        claimed = {"GPU-1" if claim == "1" else claim for claim in self.host.claims}
        return [] if "*" in claimed else [uuid for uuid in bare if uuid not in leased | claimed]


def test_no_course_of_events_gives_a_card_two_holders_or_leases_one_that_is_not_free(
    host: Host, database: Database, tmp_path: Path
) -> None:
    names = {"database": database, "host_class": type(host), "file": tmp_path / "cards.json"}
    case = type("Course", (Courses,), names).TestCase
    case.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    case("runTest").runTest()

"""What makes a card unfit for jobs, what becomes of the job on it, and how the card is trusted again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConfigurationError, UnavailableError
from contracts.job import GpuWish
from registry.database import Database
from runner.gpus import GpuLost
from runner.gpus.taints import Effect
from runner.gpus.xid import XidPolicy

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

JOB = "t0000001"
#: Seconds after which a quiet card is trusted again, by its driver's verdict.
QUIET = 310.0


@pytest.mark.parametrize(
    ("xid", "effect", "health", "ends_the_job"),
    [
        (13, "none", "ok", False),
        (94, "none", "ok", False),
        (79, "lost", "lost", True),
        (119, "quarantine", "quarantined", True),
        (999, "look", "quarantined", False),
        (48, "look", "quarantined", False),
    ],
)
def test_an_xid_during_a_job(host: Host, xid: int, effect: str, health: str, ends_the_job: bool) -> None:
    """A15."""
    host.start(JOB)
    host.look(JOB)
    host.happen(xid)
    found = host.look(JOB)
    assert [type(finding) for finding in found] == [GpuLost] * ends_the_job
    (event,) = host.events("xid")
    assert (event["job"], event["detail"]["xid"], event["detail"]["effect"]) == (JOB, xid, effect)
    assert host.card("GPU-0")["health"] == health
    assert host.look(JOB) == found


def test_an_application_error_never_takes_a_card_out_of_use(host: Host) -> None:
    for xid in (13, 31, 43, 94):
        host.happen(xid)
    host.look()
    assert host.states() == ["free"] * 4


def test_an_error_of_a_former_job_does_not_end_the_next_one(host: Host) -> None:
    host.happen(119)
    host.look()
    host.pool.clear("GPU-0")
    host.start(JOB)
    assert host.look(JOB) == []


def test_an_error_of_one_slice_leaves_the_others_alone(host: Host) -> None:
    first, second = host.cut(0, 2)
    host.happen(119, gpu_instance=0, compute_instance=0)
    host.look()
    assert (host.card(first)["state"], host.card(second)["state"]) == ("quarantined", "free")


def test_an_error_of_a_card_is_one_of_all_its_slices(host: Host) -> None:
    host.cut(0, 2)
    host.start(JOB, 1, wish=GpuWish(mig_profile="1g.10gb"))
    host.look(JOB)
    host.happen(79)
    assert [found.job_id for found in host.look(JOB) if isinstance(found, GpuLost)] == [JOB]
    assert host.events("xid")[0]["job"] == JOB
    assert host.card("MIG-0-1")["state"] == "quarantined"


@pytest.mark.parametrize(("first", "state"), [(31, "free"), (None, "quarantined")])
def test_an_error_that_follows_from_another_is_none_of_its_own(host: Host, first: int | None, state: str) -> None:
    if first:
        host.happen(first)
        host.look()
    host.happen(45)
    host.look()
    assert host.states()[0] == state


# ----------------------------------------------------------------------------------------------------------------- healing


def test_a_card_whose_driver_asks_for_no_reset_is_trusted_after_five_quiet_minutes(host: Host) -> None:
    host.set_card(0, recovery_action="none")
    host.happen(119)
    host.look()
    host.later_s = QUIET - 20
    host.look()
    assert host.states()[0] == "quarantined"
    host.later_s = QUIET
    host.look()
    assert host.states()[0] == "free"
    assert [event["detail"]["reason"] for event in host.events("healed")] == ["xid 119"]


def test_without_a_verdict_of_the_driver_only_a_reboot_or_an_operator_heals(host: Host) -> None:
    for heal in (lambda: setattr(host, "boot", "boot 2"), lambda: host.world.update(driver="580"), lambda: host.pool.clear("GPU-0")):
        host.happen(119)
        host.look()
        host.later_s += 10 * QUIET
        host.look()
        assert host.states()[0] == "quarantined"
        heal()
        host.write()
        host.look()
        assert host.states()[0] == "free"


def test_a_card_that_fell_off_the_bus_needs_a_reboot(host: Host) -> None:
    host.set_card(0, recovery_action="none")
    host.happen(79)
    host.look()
    host.later_s, host.world["driver"] = 10 * QUIET, "580"
    host.write()
    host.look()
    assert (host.states()[0], host.card("GPU-0")["health"]) == ("quarantined", "lost")
    host.boot = "boot 2"
    host.write()
    host.look()
    assert host.states()[0] == "free"


def test_nothing_heals_under_a_job(host: Host) -> None:
    host.set_card(0, recovery_action="none")
    host.start(JOB)
    host.happen(48)
    host.look(JOB)
    host.later_s = 10 * QUIET
    host.look(JOB)
    assert host.card("GPU-0")["health"] == "quarantined"
    host.exit(JOB)
    host.set_card(0, recovery_action="none")
    host.pool.release(JOB, 1)
    host.look()
    assert host.states()[0] == "free"


@pytest.mark.parametrize(
    ("values", "state", "reason"),
    [
        ({"recovery_action": "reset"}, "quarantined", "the driver asks for: reset"),
        ({"recovery_action": "drain_p2p"}, "drained", "the driver asks for: drain p2p"),
        ({"remap_failed": True}, "quarantined", "memory rows could not be remapped"),
        ({"remap_pending": True}, "drained", "memory rows are remapped at the next reset"),
        ({"retirement_pending": True}, "drained", "memory pages are retired at the next reset"),
    ],
)
def test_what_a_card_says_of_itself_counts_at_once_and_ends_no_job(host: Host, values: dict[str, object], state: str, reason: str) -> None:
    host.start(JOB)
    host.set_card(0, **values)
    host.set_card(1, **values)
    assert host.states()[1] == state
    assert host.look(JOB) == []
    assert host.card("GPU-0")["health_reasons"] == [reason]
    host.set_card(1)
    host.look(JOB)
    host.later_s = QUIET
    host.look(JOB)
    assert host.states()[1] == "free"


def test_memory_errors_that_grow_keep_new_jobs_away_until_they_stop(host: Host) -> None:
    host.set_card(0, ecc_uncorrected=1)
    host.look()
    assert host.states()[0] == "free"
    host.set_card(0, ecc_uncorrected=3)
    host.look()
    assert (host.states()[0], host.card("GPU-0")["health"]) == ("drained", "suspect")
    assert host.card("GPU-0")["reason"] == "uncorrected ECC errors grew from 1 to 3"
    host.later_s = QUIET
    host.look()
    assert host.states()[0] == "free"


def test_without_sight_of_xids_cards_are_given_and_shown_as_unmonitored(host: Host) -> None:
    host.world["events_monitored"] = False
    host.write()
    assert {card["health"] for card in host.pool.list_gpus()} == {"unmonitored"}
    assert len(host.pool.lease(JOB, 1, 4)) == 4


# ------------------------------------------------------------------------------------------------------------ the policy


def test_the_table_knows_what_nvidia_says_and_looks_at_what_it_does_not() -> None:
    policy = XidPolicy.load()
    effects = {number: policy.rule(number).effect for number in (8, 13, 31, 94, 46, 62, 95, 119, 158, 79, 151, 48, 154, 165, 4242)}
    assert [number for number, effect in effects.items() if effect is Effect.NONE] == [8, 13, 31, 94]
    assert [number for number, effect in effects.items() if effect is Effect.QUARANTINE] == [46, 62, 95, 119, 158]
    assert [number for number, effect in effects.items() if effect is Effect.LOST] == [79, 151]
    assert [number for number, effect in effects.items() if effect is Effect.LOOK] == [48, 154, 165, 4242]


def test_a_site_overrides_single_lines(host: Host) -> None:
    file = host.folder / "site.cfg"
    file.write_text("[xid]\n119 = none, known here\n13-14 = quarantine\nunknown = none\n")
    host.pool = host.new_pool(xid_policy=file)
    for xid in (119, 999):
        host.happen(xid)
    host.look()
    assert host.states()[0] == "free"
    host.happen(14, "GPU-1")
    host.look()
    assert host.states()[1] == "quarantined"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[xid]\n119 = reset\n", "Xid 119 has the effect 'reset'"),
        ("[xid]\nmany = none\n", "'many' is no number of an Xid"),
        ("[xid]\n9-3 = none\n", "'9-3' is no number of an Xid"),
        ("[xids]\n9 = none\n", "sections"),
        ("9 = none\n", "cannot be read"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "site.cfg").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        XidPolicy.load(tmp_path / "site.cfg")
    assert "site.cfg" in caught.value.message


def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.cfg cannot be read"):
        XidPolicy.load(tmp_path / "missing.cfg")


def test_an_error_that_could_not_be_put_on_record_is_not_lost(host: Host) -> None:
    host.look()
    host.happen(79)
    with Database.open(host.folder / "sluice.db", busy_timeout_s=0.05) as impatient:
        pool = host.new_pool(database=impatient)
        with host.database.writing(), pytest.raises(UnavailableError):
            pool.reconcile([])
        assert host.events("xid") == []
        pool.reconcile([])
    assert [event["detail"]["xid"] for event in host.events("xid")] == [79]

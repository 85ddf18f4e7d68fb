"""Whether other work holds the cores: what recorded steps and counters show, and real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.contention import (
    GAP_SECONDS,
    PATIENT_SECONDS,
    WINDOW_SECONDS,
    Contention,
    Load,
    Reading,
    held_since,
    read_machine,
)
from gpt.events import Notice
from tests.soak import ROOT

TOKENS = 768
QUICK, CRAWLING = 0.020, 1.0


@dataclass
class Machine:
    """The counters of a machine of so many cores, and a run on it."""

    cores: int = 2
    clock: float = 100.0
    idle: float = 0.0
    own: float = 0.0
    readings: int = 0
    steps: int = 0

    def read(self) -> Reading:
        self.readings += 1
        return Reading(self.clock, self.idle, self.own)

    def passes(self, seconds: float, own: float, others: float) -> None:
        """Time goes by, with so many cores in use."""
        self.clock += seconds
        self.own += seconds * own
        self.idle += seconds * (self.cores - own - others)

    def trains(
        self, run: Contention, each: Iterable[float], own: float = 2.0, others: float = 0.0
    ) -> list[Notice]:
        """Steps that take so long each, with so many cores in use; what is noticed."""
        notices: list[Notice] = []
        for seconds in each:
            self.passes(seconds, own, others)
            notice = run.after_step(self.steps, seconds, TOKENS)
            self.steps += 1
            if notice is not None:
                notices.append(notice)
        return notices


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def run(machine: Machine) -> Iterator[Contention]:
    """A run with two threads that has had the machine for itself."""
    run = Contention(threads=2, cores=2, read=machine.read)
    assert machine.trains(run, [0.2] * 3 + [QUICK] * 1000) == []
    machine.readings = 0
    with run:
        yield run


def test_a_job_beside_the_run_is_told_once_with_what_helps(
    machine: Machine, run: Contention
) -> None:
    # When another job takes a core, and each step fifty times as long, for ten minutes
    notices = machine.trains(run, [CRAWLING] * 600, own=1.3, others=0.7)

    # Then that is told once, with both rates and the setting that helps
    (notice,) = notices
    assert notice.level == "warning"
    assert notice.step is not None
    assert notice.step <= 1003 + 1 + WINDOW_SECONDS / CRAWLING
    assert "50 times slower" in notice.text
    assert "768 tokens a second instead of 38,400" in notice.text
    assert "0.7 of the 2 cores" in notice.text
    assert "--threads=1," in notice.text
    assert "set threads = 1;" in notice.text


def test_it_is_told_again_when_it_comes_back_after_a_quiet_minute(
    machine: Machine, run: Contention
) -> None:
    crawling, quick = [CRAWLING] * 20, [QUICK] * int(1.1 * PATIENT_SECONDS / QUICK)
    assert len(machine.trains(run, crawling, own=1.0, others=1.0)) == 1

    # Nor is it told anew after a breath of a few seconds
    assert machine.trains(run, [QUICK] * 200) == []
    assert machine.trains(run, [CRAWLING] * 100, own=1.0, others=1.0) == []

    assert machine.trains(run, quick * 2) == []
    assert len(machine.trains(run, crawling, own=1.0, others=1.0)) == 1


def test_threads_wait_with_patience_as_long_as_other_work_wants_their_cores(
    machine: Machine, run: Contention
) -> None:
    # Given a run that had the machine for itself
    assert not run.patient

    # When another job comes, then threads that wait no longer keep it from its cores
    machine.trains(run, [CRAWLING] * 10, own=1.0, others=1.0)
    assert run.patient

    # And that makes steps quick again, but once a minute it is looked at without
    for _ in range(3):
        passed = patient_for(machine, run)
        assert passed == pytest.approx(PATIENT_SECONDS, abs=7)
        assert machine.trains(run, [CRAWLING] * 5, own=1.0, others=1.0) == []
        assert run.patient

    # When the job is over then and soon comes back, that is no news
    patient_for(machine, run)
    assert machine.trains(run, [QUICK] * 300) == []
    assert not run.patient
    assert machine.trains(run, [CRAWLING] * 10, own=1.0, others=1.0) == []
    assert run.patient

    # When it is over for long, they keep their cores again, beside a hum of other work as well
    patient_for(machine, run)
    machine.trains(run, [QUICK] * 10_000, own=1.8, others=0.2)
    assert not run.patient

    # And its return is told
    assert len(machine.trains(run, [CRAWLING] * 20, own=1.0, others=1.0)) == 1


def test_what_is_between_steps_does_not_end_patience(machine: Machine, run: Contention) -> None:
    # Given patient threads that are to be looked at without patience
    machine.trains(run, [CRAWLING] * 10, own=1.0, others=1.0)
    patient_for(machine, run)

    # When the run is paused in those seconds, in which nothing waits for a core
    machine.trains(run, [CRAWLING] * 2, own=1.0, others=1.0)
    machine.passes(600.0, own=0.0, others=0.0)
    machine.trains(run, [CRAWLING] * 3, own=1.0, others=1.0)
    assert not run.patient

    # Then the next seconds decide
    machine.trains(run, [CRAWLING] * 5, own=1.0, others=1.0)
    assert run.patient


def patient_for(machine: Machine, run: Contention) -> float:
    """Train until threads are no longer patient; seconds until then."""
    begun = machine.clock
    while run.patient:
        machine.trains(run, [1.5 * QUICK], own=1.6, others=0.4)
    return machine.clock - begun


def test_a_run_that_begins_on_a_busy_machine_says_so(machine: Machine) -> None:
    run = Contention(threads=2, cores=2, read=machine.read)
    with run:
        (notice,) = machine.trains(run, [CRAWLING, 0.3, CRAWLING] * 50, own=1.0, others=1.0)
    assert "times slower" not in notice.text
    assert "1.0 of the 2 cores" in notice.text
    assert "--threads=1," in notice.text


@pytest.mark.parametrize(
    ("why", "threads", "own", "others"),
    [
        ("the run has the cores for itself, as when it is larger now", 2, 2.0, 0.0),
        ("it waits for something else, as a disk", 2, 0.2, 0.1),
        ("other work is a background hum", 2, 1.8, 0.2),
        ("its own screen or another model of its own computes", 2, 1.98, 0.02),
        ("one thread does not wait for another", 1, 0.5, 1.5),
    ],
)
def test_steps_that_are_slow_for_another_reason_are_no_contention(
    machine: Machine, why: str, threads: int, own: float, others: float
) -> None:
    run = Contention(threads=threads, cores=2, read=machine.read)
    assert machine.trains(run, [QUICK] * 1000, own=float(threads)) == [], why
    assert machine.trains(run, [CRAWLING] * 200, own=own, others=others) == [], why
    # And the machine is not asked again and again
    assert machine.readings <= 4


def test_one_long_step_is_no_contention(machine: Machine, run: Contention) -> None:
    # Given other work that leaves the steps quick, when one of them is long, as after a stop
    hiccups = ([30.0] + [QUICK] * 300) * 20
    assert machine.trains(run, hiccups, own=1.0, others=1.0) == []


def test_what_is_between_steps_is_no_contention(machine: Machine, run: Contention) -> None:
    # When steps are slow, and between them a pause in which others use the machine
    for _ in range(50):
        machine.passes(10.0, own=0.0, others=2.0)
        assert machine.trains(run, [0.05] * 2, own=2.0) == []


def test_the_machine_is_asked_only_when_steps_are_slow_and_rarely(
    machine: Machine, run: Contention
) -> None:
    machine.trains(run, [QUICK, 1.5 * QUICK] * 2000, own=1.5, others=0.5)
    assert machine.readings == 0

    # Every third step is slow, and the cores are in use
    before = machine.clock
    machine.trains(run, [QUICK, QUICK, 5 * QUICK] * 1000, own=1.0, others=1.0)
    assert 0 < machine.readings <= (machine.clock - before) / GAP_SECONDS + 1


def test_a_run_whose_batches_grow_is_not_slow(machine: Machine, run: Contention) -> None:
    for factor in (1, 2, 4, 8):
        for _ in range(100):
            machine.passes(factor * QUICK, own=1.2, others=0.8)
            assert run.after_step(0, factor * QUICK, factor * TOKENS) is None
    assert machine.readings == 0


@pytest.mark.parametrize(
    ("cores", "threads", "own", "others", "held", "room"),
    [
        (2, 2, 1.33, 0.67, True, 1),
        (2, 2, 0.17, 1.83, True, 1),
        (2, 2, 0.99, 1.01, True, 1),
        (2, 2, 0.70, 0.70, False, 1),  # a third of the machine is idle
        (4, 4, 3.20, 0.80, True, 3),
        (4, 4, 2.00, 2.00, True, 2),
        (4, 2, 2.00, 2.00, False, 2),  # there is a core for each
        (8, 4, 2.50, 5.50, True, 2),
        (64, 64, 63.0, 1.00, False, 63),  # nearly all it could use
        (64, 64, 33.0, 31.0, True, 33),
    ],
)
def test_who_holds_the_cores(
    cores: int, threads: int, own: float, others: float, held: bool, room: int
) -> None:
    load = Load(cores, own, others)
    assert load.holds(threads) is held
    assert load.room == room


@given(
    cores=st.integers(2, 128),
    share=st.floats(0, 1),
    busy=st.floats(0, 1),
    wall=st.floats(0.5, 1e4),
    threads=st.integers(2, 128),
)
def test_the_advice_always_fits(
    cores: int, share: float, busy: float, wall: float, threads: int
) -> None:
    # Given any two readings of a machine's counters
    own, others = cores * busy * share, cores * busy * (1 - share)
    first = Reading(50.0, 1e5, 300.0)
    idle = wall * (cores - own - others)
    last = Reading(50.0 + wall, 1e5 + idle, 300.0 + wall * own)

    load = Load.between(first, last, cores)

    # Then they tell what was in use, and the advice is fewer threads than there are, at least one
    assert load.own == pytest.approx(own, abs=1e-3)
    assert load.others == pytest.approx(others, abs=1e-3)
    if load.holds(threads):
        assert 1 <= load.room < threads
        assert load.others > 0


def test_real_counters_go_forward() -> None:
    before = read_machine()
    sum(range(2_000_000))
    after = read_machine()
    assert after.clock > before.clock
    assert after.own > before.own
    assert after.idle >= before.idle


@pytest.mark.parametrize(("others", "held"), [(0.0, False), (1.8, True)])
def test_what_others_held_since_a_reading(
    others: float, held: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt.contention._own_cores", lambda: {0, 1})
    monkeypatch.setattr("gpt.contention.read_machine", machine.read)
    before = machine.read()
    machine.passes(1.0, own=1.9 - others, others=others)
    assert held_since(before, 2) == held


def test_a_machine_that_hides_its_counters_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(percpu: bool) -> None:
        raise PermissionError("/proc/stat")

    monkeypatch.setattr("psutil.cpu_times", hidden)
    run = Contention(threads=2)
    assert all(run.after_step(step, CRAWLING, TOKENS) is None for step in range(20))


def test_a_step_that_took_no_time_at_all_is_passed_over(machine: Machine, run: Contention) -> None:
    assert machine.trains(run, [0.0], own=1.0, others=1.0) == []
    (notice,) = machine.trains(run, [CRAWLING] * 20, own=1.0, others=1.0)
    assert "51 times slower" in notice.text


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_real_job_beside_a_real_training_is_noticed() -> None:
    # Given a training with a thread on each core
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 2
    busy: list[subprocess.Popen[bytes]] = []
    as_users_have_it = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crowded", str(cores)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=as_users_have_it,
    ) as training:  # fmt: skip
        try:
            assert training.stdout is not None
            told = json.loads(training.stdout.readline())
            if told == "quick":
                # When a job takes each core as well
                busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores)]
                told = json.loads(training.stdout.readline())

            # Then it is noticed, unless the machine was so busy that this was told at the start
            assert f"of the {cores} cores" in told
            assert "keep waiting for each other" in told
        finally:
            for process in (training, *busy):
                process.kill()


BUSY = "while True: pass"

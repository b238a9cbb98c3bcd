"""A campaign: an installation at work, clients on it, one kill after the other, and the reckoning at the end."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from tests.faults import annals, remains, stream, versions
from tests.faults.blows import Disturbance, Round, round_of
from tests.faults.clients import Client, Orderer, Predictor, Promoter, Reader, Registrar, Scene
from tests.faults.cuts import proxy
from tests.faults.fleet import Fleet, send, until
from tests.faults.history import Blow, violations
from tests.faults.report import Plan, Report
from tests.faults.victims import Victim, victim_of
from tests.services import installation
from understudy.settings import Settings

Say = Callable[[str], object]

PINGED_S = 2.0
"""The API's parent kills a worker that answers no ping for five seconds: whoever sleeps so long may not wake again."""


class Campaign:
    """One plan on one home folder."""

    def __init__(self, home: Path, plan: Plan, say: Say) -> None:
        self.home, self.plan, self.say = home, plan, say
        self.settings, self.temporary = Settings(home=home), home / "tmp"
        self.report, self.blows = Report(plan), list[Blow]()

    def run(self) -> Report:
        """Do it; what was broken is in the report, and what cannot even be checked is raised."""
        self.temporary.mkdir(parents=True)
        if self.plan.trains:
            stream.define(self.settings.definitions, for_s=600 + 30 * self.plan.kills)
        environment = {"UNDERSTUDY_API_WORKERS": str(self.plan.workers), "TMPDIR": str(self.temporary)}
        with installation(self.home, **environment) as installed, proxy(installed.port) as network:
            self.installed, self.network = installed, network
            self.fleet = Fleet(installed, workers=self.plan.workers, schedulers=self.plan.schedulers)
            installed.start_api()
            self.scene = Scene(installed.port, network.port, self.fleet.whose, installed.token("operator"))
            self.begin()
            clients = self.clients()
            for client in clients:
                client.start()
            try:
                for number in range(self.plan.first, self.plan.first + self.plan.kills):
                    self.round(round_of(self.plan.seed, number, workers=self.plan.workers))
                    self.look_at(clients)
                self.scene.calm.set()
                self.calm_down(clients)
                self.still_works()
            finally:
                self.scene.stop.set()
                for client in clients:
                    client.join(90)
            self.look_at(clients)
            installed.stop()
            self.reckon()
        return self.report

    def begin(self) -> None:
        """Two versions, one of which serves; then the schedulers."""
        first = Registrar(self.scene, 0, proxied=False)
        first.line.ask("define", "PUT", "/models/rain", versions.DEFINITION)
        first.once()
        first.once()
        promoted = first.line.ask(
            "promote",
            "POST",
            "/model/promote",
            {"model_name": "rain", "model_version_id": "1", "override": "the first"},
            asked={"key": "the-first"},
            key="the-first",
        )
        assert promoted.outcome == "ok", promoted
        first.line.close()
        self.fleet.start_schedulers(self.address)

    @property
    def address(self) -> str:
        """Where the schedulers find the API: behind the network that is cut."""
        return f"http://127.0.0.1:{self.network.port}"

    def clients(self) -> list[Client]:
        some: list[Client] = [Predictor(self.scene, number, proxied=number == 3) for number in range(4)]
        some += [Promoter(self.scene, number, proxied=number == 1) for number in range(2)]
        some += [Registrar(self.scene, 1, proxied=True), Reader(self.scene, 0, proxied=False)]
        return [*some, Orderer(self.scene, 0, proxied=True)] if self.plan.trains else some

    def look_at(self, clients: list[Client]) -> None:
        for client in clients:
            if client.broke is not None:
                raise AssertionError(f"{client.name} ended") from client.broke

    # One round

    def round(self, drawn: Round) -> None:
        time.sleep(drawn.wait_s)
        around = Thread(target=self.disturb, args=(drawn.disturbance, drawn.which), daemon=True)
        if drawn.disturbance is not None:
            around.start()
            time.sleep(drawn.which * drawn.disturbance.lasts_s)
            if drawn.kill in ("scheduler", "training"):
                around.join()  # else the pause would be taken for what the kill costs
        self.kill(victim_of(self.fleet, drawn, self.address), drawn)
        if drawn.disturbance is not None:
            around.join()
        if drawn.recovers:
            until(lambda: len(self.fleet.answering()) == self.plan.workers, "all workers")

    def kill(self, victim: Victim, drawn: Round) -> None:
        began_s = time.monotonic()
        victim.kill()
        if victim.back is not None:
            victim.back()
        until(self.is_right, "a right answer")
        served_s = time.monotonic()
        everybody = victim.kind in ("api", "parent")
        self.blows.append(Blow(kind=victim.kind, began_s=began_s, ended_s=served_s, pids=victim.pids, all=everybody))
        self.report.served_again_s[victim.kind].append(served_s - began_s)
        what = drawn.disturbance
        around = "" if what is None else f", around it {what.kind} for {what.lasts_s:.1f} s"
        after = f"served again after {served_s - began_s:.2f} s"
        self.say(f"round {drawn.number}: {victim.kind} {victim.name} killed{around}; {after}")

    def is_right(self) -> bool:
        found = self.fleet.answers()
        return found is not None and self.scene.adds.get(found[0]) == found[1]

    def disturb(self, what: Disturbance, which: float) -> None:
        """Begin it, wait, end it."""
        began_s, pids, cut = time.monotonic(), frozenset[int](), False
        if what.kind in ("drop", "reset", "stall"):
            cut = True
            self.network.cut(what.kind)
            time.sleep(what.lasts_s)
            self.network.cut(None)
        else:
            victims = self.fleet.answering() if what.kind == "pause worker" else self.scheduler_pids()
            some = victims[int(which * len(victims)) :][:1]
            pids = frozenset(some) if what.kind == "pause worker" else pids
            send(signal.SIGSTOP, *some)
            time.sleep(what.lasts_s)
            send(signal.SIGCONT, *some)
        self.report.disturbances[what.kind] += 1
        alone = self.plan.workers == 1
        self.blows.append(
            Blow(
                kind=what.kind,
                began_s=began_s,
                ended_s=time.monotonic(),
                pids=pids,
                cut=cut,
                fatal=cut or (what.lasts_s > PINGED_S and not alone),
                all=alone and bool(pids),
            )
        )

    def scheduler_pids(self) -> list[int]:
        return [self.installed.processes[name].pid for name in self.fleet.schedulers]

    # The end

    def calm_down(self, clients: list[Client]) -> None:
        """Let every client but those who predict end what it has begun."""
        for client in clients:
            if not isinstance(client, Predictor):
                client.join(150)
                assert not client.is_alive(), f"{client.name} cannot end what it began"
        self.look_at(clients)
        until(lambda: not list(annals.half_promoted(remains.log_of(self.settings))), "an outcome of every promotion")

    def still_works(self) -> None:
        """All workers serve the same, and another promotion answers."""
        serving = self.fleet.serving()
        if len(set(serving.values())) != 1:
            self.report.broken.append(f"workers serve different versions in the end: {serving}")
        last = Registrar(self.scene, 2, proxied=False)
        last.register(max(self.scene.adds.values()) + 1)
        version = max(self.scene.adds, key=int)
        wish = {"model_name": "rain", "model_version_id": version, "override": "the last"}
        promoted = last.line.ask("promote", "POST", "/model/promote", wish, asked={"key": "last"}, key="last")
        last.line.close()
        if promoted.outcome != "ok":
            self.report.broken.append(f"no promotion is possible in the end: {promoted}")
        if set(self.fleet.serving().values()) != {version}:
            self.report.broken.append(f"the last promotion did not reach everybody: {self.fleet.serving()}")

    def reckon(self) -> None:
        """Compare what was seen with what is kept, after one more start and end."""
        self.installed.start_api()
        self.installed.stop()
        log, seen = remains.log_of(self.settings), self.scene.history
        self.report.broken += violations(seen, self.blows, log)
        self.report.broken += annals.flaws(log)
        self.report.broken += [f"{name} was left behind" for name in remains.after_sweep(self.settings, self.temporary)]
        self.report.broken += remains.damage(self.settings, log)
        self.report.exchanges = Counter(f"{each.action} {each.outcome}" for each in seen)
        self.report.events = Counter(entry.event.kind for entry in log)

"""What people and programs do with an installation all day long, each in a thread of its own until told to stop.

Predictor   asks on a kept connection; its answers must be right, and never older than what it could know
Promoter    promotes, demotes, sends the same key again; never gives up on a key before it knows what came of it
Registrar   uploads bundles, each twice
Orderer     asks for training by hand
Reader      reads the log from where it was
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event, Thread

from tests.faults import versions
from tests.faults.history import Exchange
from tests.faults.line import Answer, Line, Whose
from understudy.fingerprint import digest_of

PAUSE_S = 0.2
"""Between two attempts at what failed."""


@dataclass
class Scene:
    """What all clients of one campaign share. Lists and dictionaries only grow."""

    port: int
    proxy: int
    whose: Whose
    operator: Mapping[str, str]
    history: list[Exchange] = field(default_factory=list)
    adds: dict[str, int] = field(default_factory=dict)
    """Version of `rain` -> what it adds to x, for every version that was registered."""
    stop: Event = field(default_factory=Event)
    calm: Event = field(default_factory=Event)
    """Begin nothing new, and end what was begun."""

    def line(self, client: str, *, proxied: bool) -> Line:
        port, whose = (self.proxy, None) if proxied else (self.port, self.whose)
        return Line(client, port, self.history, whose, self.operator)


class Client(Thread):
    """One of them; `number` tells it from others of its kind, and seeds what it does."""

    every_s = 0.0

    def __init__(self, scene: Scene, number: int, *, proxied: bool) -> None:
        super().__init__(name=f"{type(self).__name__} {number}", daemon=True)
        self.scene, self.random = scene, random.Random(f"{type(self).__name__} {number}")
        self.proxied = proxied
        self.line = scene.line(self.name, proxied=proxied)
        self.broke: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.done():
                self.once()
                self.scene.stop.wait(self.random.uniform(0.5, 1.5) * self.every_s)
        except BaseException as error:  # noqa: BLE001 - the campaign raises it again
            self.broke = error
        finally:
            self.line.close()

    def done(self) -> bool:
        return self.scene.stop.is_set() or self.scene.calm.is_set()

    def once(self) -> None:
        raise NotImplementedError


class Predictor(Client):
    """It goes on while the others calm down."""

    every_s = 0.03

    def done(self) -> bool:
        return self.scene.stop.is_set()

    def once(self) -> None:
        if self.random.random() < 0.02:
            self.line.close()  # the next connection may lead to another worker
        x = self.random.randrange(1000)
        self.line.ask("predict", "POST", "/predict", {"x": x}, asked={"x": x}, keep=prediction)


def prediction(body: Answer, headers: Mapping[str, str]) -> Answer:
    return {
        "version": body["version"],
        "header": headers.get("model-version", headers.get("Model-Version")),
        "prediction": body["predictions"][0],
    }


class Promoter(Client):
    every_s = 0.2

    def __init__(self, scene: Scene, number: int, *, proxied: bool) -> None:
        super().__init__(scene, number, proxied=proxied)
        self._count = 0

    def once(self) -> None:
        self._count += 1
        key = f"{self.name.replace(' ', '-')}-{self._count}"
        if self.random.random() < 0.2:
            action, route, body = "demote", "/model/demote", {"model_name": "rain", "reason": "a test"}
        else:
            version = self.random.choice(list(self.scene.adds))
            wish = {"model_name": "rain", "model_version_id": version, "override": "a test"}
            action, route, body = "promote", "/model/promote", wish
        while True:
            found = self.line.ask(action, "POST", route, body, asked={"key": key, **body}, keep=change, key=key)
            if found.outcome != "unknown" or self.scene.stop.is_set():
                break
            time.sleep(PAUSE_S)
        if found.outcome == "ok" and self.random.random() < 0.2:
            self.line.ask(action, "POST", route, body, asked={"key": key, **body}, keep=change, key=key)


def change(body: Answer, headers: Mapping[str, str]) -> Answer:
    return {"version": body["version"], "position": body["position"]}


class Registrar(Client):
    every_s = 2.0

    def __init__(self, scene: Scene, number: int, *, proxied: bool) -> None:
        super().__init__(scene, number, proxied=proxied)
        self._next = max(scene.adds.values(), default=0) + 1

    def once(self) -> None:
        self.register(self._next)
        self.register(self._next)
        self._next += 1

    def register(self, k: int) -> None:
        data = versions.bundle(k)
        asked = {"adds": k, "digest": digest_of(data)}
        while True:
            found = self.line.ask("register", "POST", "/models/rain/versions", data, asked=asked, keep=registered)
            if found.outcome == "ok":
                self.scene.adds[found.answer["version"]] = k
            if found.outcome != "unknown" or self.scene.stop.is_set():
                return
            time.sleep(PAUSE_S)


def registered(body: Answer, headers: Mapping[str, str]) -> Answer:
    return {"version": body["version"], "digest": body["digest"], "passed": (body["trial"] or {}).get("passed")}


class Orderer(Client):
    every_s = 10.0

    def __init__(self, scene: Scene, number: int, *, proxied: bool) -> None:
        super().__init__(scene, number, proxied=proxied)
        self._count = 0

    def once(self) -> None:
        self._count += 1
        self.line.close()  # the API ends a connection that was idle for so long, and that is no failure
        key, body = f"order-{self._count}", {"model_name": "stream"}
        while not self.scene.stop.is_set():
            found = self.line.ask("train", "POST", "/job/train", body, asked={"key": key}, keep=ordered, key=key)
            if found.outcome != "unknown":
                return
            time.sleep(PAUSE_S)


def ordered(body: Answer, headers: Mapping[str, str]) -> Answer:
    return {"run_id": body["run_id"]}


class Reader(Client):
    every_s = 0.3

    def __init__(self, scene: Scene, number: int, *, proxied: bool) -> None:
        super().__init__(scene, number, proxied=proxied)
        self.position = 0

    def once(self) -> None:
        found = self.line.ask("read", "GET", f"/events?after={self.position}&limit=1000", keep=seen)
        if found.outcome == "ok" and found.answer["seen"]:
            positions = [position for position, _ in found.answer["seen"]]
            assert positions == list(range(self.position + 1, self.position + 1 + len(positions))), "a gap in the log"
            self.position = positions[-1]


def seen(body: Answer, headers: Mapping[str, str]) -> Answer:
    return {"seen": tuple((event["position"], event["hash"]) for event in body["items"])}

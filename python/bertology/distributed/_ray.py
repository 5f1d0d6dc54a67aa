"""Parts in actors of Ray."""

from __future__ import annotations

import collections
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from ._parts import ATTEMPTS, Outcome, Plan, make

# Parts that an actor has at a time: the next is there when one is done.
IN_FLIGHT = 2


class Maker:
    """What an actor does. It stays alive from part to part."""

    def is_there(self) -> bool:
        """Answers as soon as it has a place."""
        return True

    def make(self, argv: list[str], number: int, place: str) -> Outcome:
        """Makes a part."""
        return make(argv, number, place)


class Ray:
    """Actors on the machines of a cluster, which see model, data and output under the same paths."""

    def __init__(self, workers: int | None, threads: int | None, address: str | None = None) -> None:
        import ray as library

        # It is typed in parts only.
        ray: Any = library
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(address=address, include_dashboard=False, log_to_driver=False)
        self._threads = threads or 1
        largest = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        if self._threads > largest:
            self.close()
            raise ValueError(f"threads={threads}: no machine of the cluster has more than {largest} cores")
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // self._threads)

    def threads(self, parts: int) -> int:
        """As many as Ray was asked for."""
        return self._threads

    def outcomes(self, plan: Plan, numbers: list[int]) -> Generator[Outcome, None, None]:
        """See `Engine`."""
        ray = self._ray
        # An actor that dies comes back, and what it was doing is begun again, where the part had got to.
        remote = ray.remote(num_cpus=self._threads, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(Maker)
        actors = [remote.remote() for _ in range(min(self.workers, len(numbers)))]
        waiting = collections.deque(numbers)
        running: dict[Any, tuple[Any, int, int]] = {}
        attempts = collections.Counter[int]()
        # An actor without a place on the cluster answers when it has one: until then nothing is given to it.
        starting = {actor.is_there.remote(): actor for actor in actors}
        there: list[Any] = []

        def give() -> None:
            # One each first, so that none is idle where parts are few.
            for most in range(1, IN_FLIGHT + 1):
                for actor in there:
                    if waiting and sum(one is actor for one, _, _ in running.values()) < most:
                        number = waiting.popleft()
                        attempts[number] += 1
                        words = (plan.argv(number), number, str(plan.place(number)))
                        running[actor.make.remote(*words)] = (actor, number, attempts[number])

        try:
            while waiting or running:
                ready, _ = ray.wait([*running, *starting], num_returns=1)
                if ready[0] in starting:
                    there.append(starting.pop(ready[0]))
                    give()
                    continue
                _, number, attempt = running.pop(ready[0])
                outcome = self._outcome(ready[0], number, attempt)
                if outcome.may_be_tried_again and attempt < ATTEMPTS:
                    waiting.append(number)
                else:
                    yield outcome
                give()
        finally:
            for actor in actors:
                ray.kill(actor)

    def close(self) -> None:
        """Ends Ray, if it was started here."""
        if self._own:
            self._ray.shutdown()

    def _outcome(self, reference: Any, number: int, attempt: int) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome(number, "died", f"its worker died: {error}".splitlines()[0], attempt)
        return replace(outcome, attempts=attempt)

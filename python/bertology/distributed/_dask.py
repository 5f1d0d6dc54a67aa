"""Parts as tasks of Dask."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from ._local import cores
from ._parts import ATTEMPTS, LOGGER, Outcome, Plan, make


class AgainError(Exception):
    """Tells the scheduler that a task may be tried again."""


def task(argv: list[str], number: int, place: str) -> Outcome:
    """Makes a part on a worker; what may end otherwise another time is raised, so that the scheduler tries again."""
    outcome = make(argv, number, place)
    if outcome.may_be_tried_again or outcome.kind == "interrupted":
        raise AgainError(outcome.message)
    return outcome


class Dask:
    """The workers of a client that there is, of a scheduler's address, or else processes of this machine."""

    def __init__(self, workers: int | None, threads: int | None, address: str | None = None) -> None:
        import distributed as library

        # It is typed in parts only.
        distributed: Any = library
        self._distributed = distributed
        self._close: list[Any] = []
        self._client: Any = None
        if address is not None:
            self._client = distributed.Client(address)
            self._close = [self._client]
        else:
            with contextlib.suppress(ValueError):
                self._client = distributed.Client.current()
        if self._client is not None and workers is not None:
            self.close()
            raise TypeError("workers= is for workers that are started here; a cluster has its own: leave workers= out")
        known = len(self._client.scheduler_info()["workers"]) if self._client is not None else 0
        self.workers = workers or known or max(1, cores() // (threads or 1))

    def threads(self, parts: int) -> int:
        """On this machine its cores, shared out; elsewhere one, since others may have the rest."""
        return 1 if self._client is not None else max(1, cores() // min(self.workers, parts))

    def outcomes(self, plan: Plan, numbers: list[int]) -> Generator[Outcome, None, None]:
        """See `Engine`."""
        distributed = self._distributed
        if self._client is None:
            cluster = self._local(min(self.workers, len(numbers)))
            self._client = distributed.Client(cluster)
            self._close = [self._client, cluster]
        # Of no name that others have: what an earlier driver asked for is not taken for it.
        ask = self._client.submit
        tasks = {n: (plan.argv(n), n, str(plan.place(n))) for n in numbers}
        futures = {ask(task, *words, pure=False, retries=ATTEMPTS - 1): n for n, words in tasks.items()}
        try:
            for future in distributed.as_completed(list(futures)):
                yield self._outcome(future, futures[future])
        finally:
            self._client.cancel(list(futures))

    def _local(self, workers: int) -> Any:
        """Processes of this machine. One that dies while it starts is no reason to give up."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
                )
            except RuntimeError as error:
                if attempt == ATTEMPTS:
                    raise
                LOGGER.warning("workers did not start: %s", error)
        raise AssertionError("an attempt ends in one way or the other")

    def close(self) -> None:
        """Ends what was started here."""
        for one in self._close:
            one.close()

    def _outcome(self, future: Any, number: int) -> Outcome:
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        error = future.exception() if future.status == "error" else "the task was cancelled"
        kind = "work" if isinstance(error, AgainError) else "died"
        said = str(error) if kind == "work" else f"its worker died: {error}"
        return replace(Outcome(number, kind, said.splitlines()[0] if said else ""), attempts=ATTEMPTS)

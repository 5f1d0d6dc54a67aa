"""One run made by many processes, here or on a cluster: the folder of the whole run, byte for byte.

A study is cut into parts as `--part K/N` of the command cuts it, parts are made by workers, and merged. What is
finished lies in `output/parts` until then, so that whatever ends early, worker or driver, is begun again and loses
little.

Ray and Dask come with `pip install bertology[ray]` and `bertology[dask]`, and are imported only where they are asked
for.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import Any

from .. import _native
from .._call import call
from .._progress import Listener, Progress
from ..run import Run
from ._local import Local, cores
from ._parts import Engine, Failure, Outcome, PartsError, Plan, made, missing, places

__all__ = ["Failure", "PartsError", "run"]

# Parts for each worker: some are slower than others.
PARTS_PER_WORKER = 2


def run(
    study: str,
    model: Any,
    data: Any = None,
    *,
    output: str | os.PathLike[str],
    engine: str = "local",
    workers: int | None = None,
    parts: int | None = None,
    address: str | None = None,
    progress: Progress = None,
    **options: Any,
) -> Run:
    """Makes a study in parts by several workers, and merges them into `output`.

    `study` is the name of a function with parts: importance, ablate, evaluate, patterns, cluster, syntax, coref,
    distance, relations, contacts, extract, cat. `engine` is `local` (processes of this machine), `ray` or `dask`,
    of which `address` names a cluster; without it that is taken to which this process is connected, or one is
    started here. `workers` are never more than parts; a Dask cluster that is there has its own. `parts` are twice
    as many as workers unless told otherwise. A part is a share of the chunks of `chunk=` units, 1,024: a small
    corpus needs a small `chunk`. `threads` are those of one worker. Model, data and output must lie under the same
    paths everywhere. Other options are those of the study.

    The same call goes on with what an earlier one left. Ctrl-C stops the workers, which keep their states.

    Raises `PartsError` where parts failed, three times each unless their input is wrong; the others are finished then.
    Raises `Interrupted` at Ctrl-C, `ValueError` for a folder with parts of another run, and what the study raises.

    >>> run("importance", "bert-mrpc", "GLUE", task="mrpc", chunk=64, workers=4, output="out")   # doctest: +SKIP
    <HeadImportance of bert-mrpc: 12 layers of 12 heads, ...>
    """
    for name, number in (("workers", workers), ("parts", parts)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ValueError(f"{name}={number!r}: a whole number from 1 is expected")
    chosen = _engine(engine, workers, options.get("threads"), address)
    try:
        plan = made(study, model, data, output, parts, PARTS_PER_WORKER * chosen.workers, options)
        plan.threads = plan.threads or chosen.threads(plan.count)
        left = missing(plan)
        if left and (plan.output / "run.json").exists():
            return _complete(plan)
        with Listener(progress) as listener:
            listener.begin(study, "parts", plan.count)
            listener.advance(plan.count - len(left))
            failures = _make(chosen, plan, left, listener) if left else []
    finally:
        chosen.close()
    if failures:
        raise PartsError(failures, plan.folder)
    call(["merge", f"--output={plan.output}", "--overwrite", "--", *places(plan)], progress)
    shutil.rmtree(plan.folder)
    return Run(plan.output)


def _complete(plan: Plan) -> Run:
    """A folder with a complete run: it is this one, or the command says what differs."""
    try:
        call(plan.whole(), False)
    finally:
        shutil.rmtree(plan.folder)
    return Run(plan.output)


def _make(chosen: Engine, plan: Plan, left: list[int], listener: Listener) -> list[Failure]:
    """Makes parts; gives those that failed."""
    failed: list[Outcome] = []
    made_now = plan.count - len(left)
    try:
        with closing(chosen.outcomes(plan, left)) as outcomes:
            for outcome in outcomes:
                if outcome.kind == "done":
                    made_now += 1
                    listener.advance(made_now)
                else:
                    failed.append(outcome)
    except KeyboardInterrupt as error:
        finished = plan.count - len(missing(plan))
        raise _native.Interrupted(
            f"interrupted; {finished} of {plan.count} parts are finished, and what others had saved is kept in "
            f"{plan.folder}: the same call goes on"
        ) from error
    # Where chunks begin is known when a part is finished.
    return [plan.failure(outcome) for outcome in sorted(failed, key=lambda outcome: outcome.number)]


def _engine(name: str, workers: int | None, threads: int | None, address: str | None) -> Engine:
    """The engine of a name."""
    if name == "local":
        if address is not None:
            raise TypeError("address= is that of a cluster: give engine='ray' or engine='dask'")
        return Local(workers or max(1, cores() // (threads or 1)))
    if name not in ("ray", "dask"):
        raise ValueError(f"engine={name!r}: local, ray or dask is expected")
    try:
        if name == "ray":
            from ._ray import Ray

            return Ray(workers, threads, address)
        from ._dask import Dask

        return Dask(workers, threads, address)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install 'bertology[{name}]'", name=error.name) from None

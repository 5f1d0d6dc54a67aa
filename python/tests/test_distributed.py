"""One run by many processes: the bytes of one process, whatever ends early."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parts as parity  # type: ignore[import-not-found, unused-ignore]
import pytest
import run_folders  # type: ignore[import-not-found, unused-ignore]
from bertology import _native, distributed, studies
from bertology.distributed import _local, _parts
from bertology.run import Run

OPTIONS: dict[str, Any] = {"task": "cola", "limit": 120, "chunk": 16, "threads": 1}
Start = Callable[[list[str]], "subprocess.Popen[str]"]
DRIVER = """
import sys
from bertology import distributed
if __name__ == "__main__":
    model, data, output = sys.argv[1:]
    options = {"task": "cola", "limit": 120, "chunk": 16, "threads": 1}
    tell = lambda label, done, total: print(done, flush=True)
    distributed.run("ablate", model, data, output=output, workers=1, parts=4, progress=tell, **options)
"""


@pytest.fixture(scope="module")
def whole(tiny: str, grammar: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return studies.ablate(tiny, grammar, output=tmp_path_factory.mktemp("whole") / "run", progress=False, **OPTIONS)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parts of the workers that were started, in order."""
    found: list[int] = []
    start = _local.start

    def noted(argv: list[str]) -> subprocess.Popen[str]:
        found.append(part_of(argv))
        return start(argv)

    monkeypatch.setattr(_local, "start", noted)
    return found


def part_of(argv: list[str]) -> int:
    return next(int(word[len("--part=") :].split("/")[0]) for word in argv if word.startswith("--part="))


def is_same(whole: Run, run: Run) -> list[str]:
    return list(run_folders.same_bytes(whole.path, run.path, parity.VOLATILE).different)


def ablate(tiny: str, grammar: str, output: Path, **more: Any) -> Run:
    options: dict[str, Any] = {"workers": 2, "parts": 4, "progress": False, **OPTIONS, **more}
    return distributed.run("ablate", tiny, grammar, output=output, **options)


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_parts_come_to_the_bytes_of_one_process(
    parts: int, whole: Run, tiny: str, grammar: str, tmp_path: Path, started: list[int]
) -> None:
    run = ablate(tiny, grammar, tmp_path / "run", parts=parts)
    assert type(run).__name__ == "Ablation" and is_same(whole, run) == []
    assert sorted(started) == list(range(1, parts + 1))
    # It is there: nothing is made again.
    assert ablate(tiny, grammar, tmp_path / "run", parts=parts).record == run.record
    assert len(started) == parts
    with pytest.raises(_native.InputError):
        ablate(tiny, grammar, tmp_path / "run", parts=parts, chunk=8)
    assert not (tmp_path / "run" / "parts").exists()


def test_ray_comes_to_the_same_bytes(whole: Run, tiny: str, grammar: str, tmp_path: Path) -> None:
    ray: Any = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        # Two of the workers never have a place.
        assert is_same(whole, ablate(tiny, grammar, tmp_path / "run", engine="ray", workers=3)) == []
        assert ray.is_initialized()
        with pytest.raises(ValueError, match="no machine of the cluster has more than 1 cores"):
            ablate(tiny, grammar, tmp_path / "other", engine="ray", threads=2)
        # What fails is tried again, and named.
        with pytest.raises(distributed.PartsError, match=r"failed once: .*nonsense"):
            distributed.run("evaluate", tiny, [("a", "nonsense")], output=tmp_path / "bad", engine="ray", parts=1)
    finally:
        ray.shutdown()


def test_dask_comes_to_the_same_bytes(whole: Run, tiny: str, grammar: str, tmp_path: Path) -> None:
    dask: Any = pytest.importorskip("distributed")
    assert is_same(whole, ablate(tiny, grammar, tmp_path / "run", engine="dask")) == []
    with dask.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        address = client.scheduler.address
        assert is_same(whole, ablate(tiny, grammar, tmp_path / "mine", engine="dask", workers=None)) == []
        other = ablate(tiny, grammar, tmp_path / "named", engine="dask", workers=None, address=address)
        assert is_same(whole, other) == []
        with pytest.raises(TypeError, match="leave workers= out"):
            ablate(tiny, grammar, tmp_path / "other", engine="dask")
        with pytest.raises(distributed.PartsError, match=r"failed once: .*nonsense"):
            distributed.run("evaluate", tiny, [("a", "nonsense")], output=tmp_path / "bad", engine="dask", parts=1)


def test_there_are_never_more_workers_than_parts(
    tiny: str, grammar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most = set[subprocess.Popen[str]](), [0]
    start = _local.start

    def counted(argv: list[str]) -> subprocess.Popen[str]:
        for process in list(running):
            if process.poll() is not None:
                running.discard(process)
        running.add(process := start(argv))
        most[0] = max(most[0], len(running))
        return process

    monkeypatch.setattr(_local, "start", counted)
    ablate(tiny, grammar, tmp_path / "run", parts=2, workers=8)
    assert most[0] <= 2


def test_workers_that_are_killed_are_begun_again(
    whole: Run, tiny: str, grammar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, attempts = _local.start, dict[int, int]()

    def killed(argv: list[str]) -> subprocess.Popen[str]:
        process, number = start(argv), part_of(argv)
        attempts[number] = attempts.get(number, 0) + 1
        if attempts[number] < _parts.ATTEMPTS:
            process.kill()
        return process

    monkeypatch.setattr(_local, "start", killed)
    assert is_same(whole, ablate(tiny, grammar, tmp_path / "run")) == []
    assert set(attempts.values()) == {_parts.ATTEMPTS}


def test_a_part_that_fails_is_named_and_the_others_are_finished(
    whole: Run, tiny: str, grammar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _local.start

    def failing(argv: list[str]) -> subprocess.Popen[str]:
        if part_of(argv) != 2:
            return start(argv)
        said = json.dumps({"error": {"kind": "work", "message": "the disk is full, leave --limit out"}})
        line = [sys.executable, "-c", f"import sys; print({said!r}); sys.exit(1)"]
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with monkeypatch.context() as patched:
        patched.setattr(_local, "start", failing)
        with pytest.raises(distributed.PartsError) as caught:
            ablate(tiny, grammar, tmp_path / "run")
    (failure,) = caught.value.failures
    # 120 rows are eight chunks of 16, two a part.
    assert (failure.part, failure.of, failure.chunks, failure.rows) == (2, 4, range(2, 4), range(32, 64))
    assert failure.attempts == 3
    assert "chunks 2 to 3, rows 32 to 63" in str(caught.value)
    assert "failed 3 times: the disk is full, leave limit= out" in str(caught.value)
    assert isinstance(caught.value, _native.WorkError)
    assert pickle.loads(pickle.dumps(caught.value)).failures == caught.value.failures
    made = [path.parent.name for path in (tmp_path / "run" / "parts").glob("part-*/part.json")]
    assert sorted(made) == ["part-00001", "part-00003", "part-00004"]
    assert is_same(whole, ablate(tiny, grammar, tmp_path / "run", parts=None)) == []


def test_what_is_wrong_with_the_input_is_not_tried_again(tiny: str, tmp_path: Path, started: list[int]) -> None:
    with pytest.raises(distributed.PartsError) as caught:
        distributed.run("evaluate", tiny, [("A text.", "nonsense")], output=tmp_path / "run", workers=1, parts=1)
    assert "failed once" in str(caught.value) and "nonsense" in str(caught.value)
    assert started == [1]


def test_a_driver_that_is_killed_is_begun_again(
    whole: Run, tiny: str, grammar: str, tmp_path: Path, started: list[int]
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    line = [sys.executable, str(tmp_path / "driver.py"), tiny, grammar, str(tmp_path / "run")]
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    for said in driver.stdout:
        if said.strip() == "1":
            driver.kill()
            break
    driver.wait()
    driver.stdout.close()
    finished = len(list((tmp_path / "run" / "parts").glob("part-*/part.json")))
    assert finished >= 1
    assert is_same(whole, ablate(tiny, grammar, tmp_path / "run")) == []
    # What was finished is not made again, but for what the worker was about to finish.
    assert len(started) in (4 - finished, 4 - finished - 1)


def test_ctrl_c_stops_the_workers_and_keeps_what_is_finished(
    whole: Run, tiny: str, grammar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[subprocess.Popen[str]] = []
    start = _local.start

    def interrupting(argv: list[str]) -> subprocess.Popen[str]:
        processes.append(start(argv))
        if len(processes) == 3:
            signal.pthread_kill(main, signal.SIGINT)
        return processes[-1]

    main = threading.main_thread().ident or 0
    with monkeypatch.context() as patched:
        patched.setattr(_local, "start", interrupting)
        with pytest.raises(_native.Interrupted, match=r"of 4 parts are finished.*the same call goes on"):
            ablate(tiny, grammar, tmp_path / "run")
    # None is left; one more may have been started before the signal was heard.
    assert len(processes) in (3, 4) and None not in [process.poll() for process in processes]
    assert len(list((tmp_path / "run" / "parts").glob("part-*/part.json"))) >= 1
    assert is_same(whole, ablate(tiny, grammar, tmp_path / "run")) == []


def test_a_worker_ends_with_its_driver(tiny: str, grammar: str, tmp_path: Path) -> None:
    place = tmp_path / "part"
    options = ["--task=cola", f"--data={grammar}", "--threads=1", f"--output={place}", "--part=1/1", "--resume"]
    process = _local.start(["ablate", *options, "--", tiny])
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    code = process.wait()
    process.stdout.close()
    # All of CoLA takes far longer than it takes to end; before the command listens, the signal ends it.
    assert code in (130, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert _parts.holder(place) is None


def test_a_folder_that_somebody_has_is_waited_for(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / _parts.LOCK).write_text('{"pid": 7, "host": "here", "since": "now"}', encoding="utf-8")
    assert _parts.holder(tmp_path) is None
    with (tmp_path / _parts.LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert _parts.holder(tmp_path) == "process 7 on here"
    assert _parts.holder(tmp_path) is None
    assert _parts.holder(tmp_path / "nothing") is None


def test_data_in_memory_lie_beside_the_parts(tiny: str, labelled: Any, tmp_path: Path) -> None:
    whole = studies.evaluate(tiny, labelled, chunk=8, output=tmp_path / "whole", progress=False)
    options: dict[str, Any] = {"workers": 2, "parts": 3, "chunk": 8}
    run = distributed.run("evaluate", tiny, labelled, output=tmp_path / "run", **options)
    volatile = parity.re.compile(parity.VOLATILE.pattern + r"|^options\.data$|^data\.file\.path$")
    assert run_folders.same_bytes(whole.path, run.path, volatile).different == []


def test_what_lies_there_of_another_run_is_refused(tiny: str, labelled: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"output": tmp_path, "parts": 2, "workers": 1, "chunk": 8}
    broken = [*labelled[:-1], ("A text.", "nonsense")]
    with pytest.raises(distributed.PartsError):
        distributed.run("evaluate", tiny, broken, **options)
    for study, data, more, message in [
        ("evaluate", labelled, {}, "other data"),
        ("importance", broken, {}, "another run"),
        ("evaluate", broken, {"parts": 3}, "a run in 2"),
        ("evaluate", broken, {"chunk": 4}, "another run"),
    ]:
        with pytest.raises(ValueError, match=message):
            distributed.run(study, tiny, data, **{**options, **more})


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        ("mask", {}, "has no parts; these have: .*importance"),
        ("nonsense", {}, "has no parts"),
        ("evaluate", {"resume": True}, "resume= has no place here"),
        ("evaluate", {"part": "1/2"}, "part= has no place here"),
        ("evaluate", {"max_lenght": 3}, "did you mean max_length"),
        ("evaluate", {"engine": "nonsense"}, "local, ray or dask"),
        ("evaluate", {"workers": 0}, "from 1"),
        ("evaluate", {"parts": 1.5}, "from 1"),
        ("evaluate", {"address": "there"}, "engine='ray'"),
    ],
)
def test_what_has_no_parts_is_refused(
    study: str, options: dict[str, Any], message: str, tiny: str, labelled: Any, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        distributed.run(study, tiny, labelled, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_model_in_memory_is_refused(labelled: Any, tmp_path: Path) -> None:
    class Model:
        name = "in-memory/1"

    # As the model of the package is told.
    Model.__module__, Model.__qualname__ = "bertology.model", "Model"
    with pytest.raises(TypeError, match="save it"):
        distributed.run("evaluate", Model(), labelled, output=tmp_path / "run")


def test_engines_that_are_not_installed_say_how(
    tiny: str, labelled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine, module in (("ray", "ray"), ("dask", "distributed")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ModuleNotFoundError, match=rf"pip install 'bertology\[{engine}\]'"):
            distributed.run("evaluate", tiny, labelled, output=tmp_path / "run", engine=engine)

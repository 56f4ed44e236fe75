"""Measurements spread over processes: through joblib on one machine, through dask on a cluster.

Every measurement is a job of its own that reads from the run folder and writes into it, so that
workers of a cluster need the folder, and the data, at the same path. Each job runs on the run's
number of threads whatever the worker: one job or many, the figures are the same, bit for bit.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bitwright.pipeline.folder import RunFolder, fingerprint
from bitwright.pipeline.measuring import Measurement, clear_up, is_measured, key_of, measure
from bitwright.pipeline.work import Work
from bitwright.problems.errors import (
    BitwrightError,
    InputError,
    MeasurementError,
    missing_dependency,
    nearest,
)
from bitwright.progress import Reporter
from bitwright.run_config import RunConfig

BACKENDS = ("loky", "dask")
_SECONDS_TO_CONNECT, _SECONDS_FOR_A_WORKER = 10, 60
_SECONDS_IDLE = 30  # how long workers outlive a killed run, once they have finished what they had


@dataclass(frozen=True)
class Workers:
    """How many measurements run at a time, and where.

    `loky` starts processes on this machine; `dask` takes the workers of the cluster at `scheduler`,
    or without one starts a cluster of `jobs` worker processes here.
    """

    jobs: int = 1
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"jobs must be an integer of at least 1, got {self.jobs}")
        if self.backend == "threading":
            raise InputError(
                "backend 'threading' would measure one at a time, since torch has one random state "
                "per process; known: 'dask', 'loky'"
            )
        if self.backend not in BACKENDS:
            raise InputError(f"unknown backend {self.backend!r}; {nearest(self.backend, BACKENDS)}")
        if self.scheduler is not None and self.backend != "dask":
            raise InputError(f"a scheduler is for backend 'dask', not {self.backend!r}")


@dataclass(frozen=True)
class _Job:
    """One measurement with all that a worker needs, as plain values."""

    config: RunConfig
    folder: Path
    inputs: str
    measurement: Measurement
    key: str


@dataclass(frozen=True)
class _Failure:
    """Why a job failed, and where in the worker."""

    reason: str
    trace: str


_Outcome = tuple[_Job, _Failure | None]


def measure_all(
    work: Work,
    measurements: Sequence[Measurement],
    workers: Workers,
    progress: Callable[[int, int, str], None],
) -> list[str]:
    """Measure what is not measured yet, and return the key of every measurement.

    `progress(done, total, name)` is called as they finish. One that fails does not stop the others:
    in the end `MeasurementError` names those that failed, and what was finished is kept.
    """
    keys = [key_of(work, measurement) for measurement in measurements]
    folder = work.folder.path.resolve()
    inputs = fingerprint(
        folder=str(folder), config=work.config.document(), weights=work.weights, data=work.data
    )
    jobs = [
        _Job(work.config, folder, inputs, measurement, key)
        for measurement, key in dict(zip(measurements, keys, strict=True)).items()
        if not is_measured(work, measurement, key)
    ]
    total, failed = len(keys), list[_Outcome]()
    done = total - len(jobs)
    progress(done, total, "")
    for job, failure in _carried_out(work, jobs, workers):
        if failure is not None:
            failed.append((job, failure))
        done += 1
        progress(done, total, str(job.measurement))
    _raise_first(failed)
    for key in keys:
        clear_up(work, key)
    return keys


def _raise_first(failed: Sequence[_Outcome]) -> None:
    if not failed:
        return
    job, failure = failed[0]
    others = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    cause = RuntimeError(failure.trace) if failure and failure.trace else None
    reason = failure.reason if failure else ""
    raise MeasurementError(
        f"{job.measurement} cannot be measured: {reason}{others}; what was finished is kept"
    ) from cause


def _carried_out(work: Work, jobs: Sequence[_Job], workers: Workers) -> Iterable[_Outcome]:
    if workers.backend == "dask":
        return _by_dask(jobs, workers)
    if workers.jobs == 1:
        return ((job, _attempt(work, job)) for job in jobs)
    return _by_loky(jobs, workers, work.config.threads)


def _by_loky(jobs: Sequence[_Job], workers: Workers, threads: int) -> Iterator[_Outcome]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor

    running: dict[str, _Job] = {}

    def handed_out() -> Iterator[Any]:
        for job in jobs:
            running[job.key] = job
            yield delayed(_carry_out)(job)

    # One at a time to each worker: a longer queue would hide which ones a dead worker had.
    with parallel_config(backend="loky", n_jobs=workers.jobs, inner_max_num_threads=threads):
        parallel = Parallel(
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch=workers.jobs,
            idle_worker_timeout=_SECONDS_IDLE,
        )
        try:
            for key, failure in parallel(handed_out()):
                yield running.pop(key), failure
        except BrokenProcessPool:
            names = [str(job.measurement) for job in running.values()]
            raise MeasurementError(
                f"a worker process died (killed, perhaps for want of memory) at one of "
                f"{', '.join(names)}; what was finished is kept"
            ) from None
        finally:  # the workers hold the task's data
            get_reusable_executor().shutdown()


def _by_dask(jobs: Sequence[_Job], workers: Workers) -> Iterator[_Outcome]:
    """Submitted to dask itself, and not through joblib, whose dask backend tells nothing until all is done."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as missing:
        raise missing_dependency("backend 'dask'", missing.name or "distributed") from missing
    if not jobs:
        return
    with _client(distributed, workers) as client:
        futures = {
            client.submit(_carry_out, job, key=f"bitwright-{job.key}", pure=False): job
            for job in jobs
        }
        for future in distributed.as_completed(futures, loop=client.loop):
            if future.status == "finished":
                yield futures[future], future.result()[1]
            else:  # its worker died, again and again
                error = future.exception()
                yield futures[future], _Failure(f"{type(error).__name__}: {error}", "")


@contextmanager
def _client(distributed: Any, workers: Workers) -> Iterator[Any]:
    """A client of the cluster at the scheduler, or of one that is started for it on this machine."""
    if workers.scheduler is None:
        cluster = distributed.LocalCluster(
            n_workers=workers.jobs, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        client = distributed.Client(
            workers.scheduler, set_as_default=False, timeout=_SECONDS_TO_CONNECT
        )
        client.wait_for_workers(1, timeout=_SECONDS_FOR_A_WORKER)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise InputError(
            f"scheduler {workers.scheduler!r} cannot be used: {error or type(error).__name__}"
        ) from None
    with client:
        yield client


_ONE_AT_A_TIME = threading.Lock()
_present: tuple[str, Work] | None = None


def _carry_out(job: _Job) -> tuple[str, _Failure | None]:
    """Carry out a job in a worker process, which keeps the task and the calibration for the next.

    Torch's random state belongs to the process, so that a worker with threads measures in turn.
    """
    global _present  # noqa: PLW0603 - what a worker process keeps between jobs
    with _ONE_AT_A_TIME:
        if _present is None or _present[0] != job.inputs:
            work = Work(job.config, RunFolder(job.folder), Reporter(quiet=True))
            _present = (job.inputs, work)
        return job.key, _attempt(_present[1], job)


def _attempt(work: Work, job: _Job) -> _Failure | None:
    try:
        torch.set_num_threads(job.config.threads)
        if key_of(work, job.measurement) != job.key:
            raise MeasurementError(  # noqa: TRY301 - told like any other failure
                f"the worker sees other data, other files in {job.folder} or another version of "
                "bitwright than the process that sent it the job"
            )
        measure(work, job.measurement, job.key)
    except BitwrightError as error:
        return _Failure(str(error), traceback.format_exc())
    # A task is anybody's code, and a worker is to say of which point it fails, whatever it raises.
    except Exception as error:
        return _Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    return None

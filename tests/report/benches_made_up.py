"""Benches made up from numbers, so that what is shown of them is tested without starting anything."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benches import Attempts, Bench, FailedStart, ImportShare, Machine, Series, Under, Unit, Variant

MACHINE = Machine(system="Linux 6.1.0", cpu="Abacus 9000", cores=2, memory_bytes=4 << 30, python="3.11.2")

TEN = (0.410, 0.405, 0.412, 0.420, 0.400, 0.415, 0.408, 0.411, 0.409, 0.413)
"""Ten starts without an outlier, in seconds."""


def series(samples: Sequence[float], metric: str = "startup_time", *, under: Under = "idle", at_once: int = 1, unit: Unit = "s") -> Series:
    rounds = tuple(number // at_once for number in range(len(samples)))
    return Series(process="web", under=under, at_once=at_once, metric=metric, unit=unit, samples=tuple(samples), rounds=rounds)


def scaled(factor: float, samples: Sequence[float] = TEN) -> tuple[float, ...]:
    return tuple(round(value * factor, 6) for value in samples)


def books(starts: int = 10, *, under: Under = "idle", at_once: int = 1, failed: int = 0, killed: int = 0, warmups: int = 0) -> Attempts:
    return Attempts(process="web", under=under, at_once=at_once, starts=starts, failed=failed, killed=killed, warmups=warmups)


def variant(*all_series: Series, name: str = "web", **more: object) -> Variant:
    given: dict[str, object] = {"engine": "process", "command": "gunicorn app:app", "attempts": (books(),), **more}
    return Variant(name=name, series=all_series, **given)  # type: ignore[arg-type]  # a test names only the fields that it is about


def bench(*variants: Variant, **more: object) -> Bench:
    given: dict[str, object] = {"how": "finished", "seed": 7, "again": "jetable bench web.yaml --seed 7", **more}
    return Bench(name="web", began="2026-11-22T01:37:22+00:00", machine=MACHINE, variants=variants, **given)  # type: ignore[arg-type]  # as above


def failed_start(number: int, **more: object) -> FailedStart:
    given: dict[str, object] = {"reason": "never-healthy", "detail": "GET /healthz: connection refused", "after_s": 10.0, **more}
    return FailedStart(process="web", under="idle", round=number, replica="web.1", log=("Booting", "no route", ""), **given)  # type: ignore[arg-type]  # as above


def whole() -> Bench:
    """A bench with something of everything."""
    process = variant(
        series(scaled(0.003), "time_to_running"),
        series(scaled(0.7), "time_to_listening"),
        series(TEN),
        series(scaled(1.02), "time_to_first_answer"),
        series(scaled(0.01), "time_to_stop_listening"),
        series(scaled(0.25), "shutdown_time"),
        series(scaled(0.9), "start_cpu_time"),
        series([12_000.0, 12_010.0, 12_500.0], "start_page_faults", unit="count"),
        series([6e7] * 10, "steady_memory", unit="bytes"),
        series([7e7] * 10, "peak_memory", unit="bytes"),
        *(series(scaled(n, TEN[:2] * n), under="at-once", at_once=n) for n in (2, 4)),
        name="process",
        reference=True,
        attempts=(
            books(13, failed=3, killed=2, warmups=1),
            books(4, under="at-once", at_once=2),
            books(8, under="at-once", at_once=4),
        ),
        failed=tuple(failed_start(number) for number in (1, 4, 8)),
        imports=tuple(
            ImportShare(package=f"package{n}", self_s=0.1 / n, share=0.25 / n, modules=n, slowest=f"package{n}.core") for n in range(1, 13)
        ),
        import_s=0.31,
        advice=("Import pandas where it is used.",),
        warnings=("the machine was 30 % busy with something else",),
    )
    docker = variant(
        series(scaled(0.2), "time_to_created"),
        series(scaled(0.5), "time_to_running"),
        series(scaled(0.5), "runtime_start_time"),
        series(scaled(1.5)),
        series(scaled(0.25), "shutdown_time"),
        name="docker",
        engine="docker",
        command="web:latest",
        parameters={"workers": "2"},
    )
    return bench(process, docker, attributes={"commit": "abc"}, warnings=("another program used 40 % of the CPUs",))

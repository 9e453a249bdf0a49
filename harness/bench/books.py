"""From the histories of a bench to its numbers: right after it, or whenever somebody asks again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.benches import Bench, Variant, path_of, read_bench
from harness.checks.advice import advice_of
from harness.checks.starts import imports_of, measured
from harness.errors import ExitCode
from harness.history import EVENTS_FILE, read


def as_measured(variant: Variant, folders: Sequence[Path], bench: Path) -> Variant:
    """``variant`` with what the histories of its sessions say, which lie in ``folders`` of the bench's folder."""
    histories = [read(folder) for folder in folders if (folder / "history" / EVENTS_FILE).is_file()]
    told = measured(histories)
    import_s, imports = imports_of(histories)
    whole = msgspec.structs.replace(
        variant,
        folders=tuple(str(folder.relative_to(bench)) for folder in folders),
        series=told.series,
        attempts=told.attempts,
        failed=told.failed,
        imports=imports,
        import_s=import_s,
        warnings=told.warnings,
    )
    return msgspec.structs.replace(whole, advice=advice_of(whole))


def judge_again(place: Path) -> Bench:
    """A stored bench as its histories tell it now; as it was stored where they are not beside it. Raises `UsageError` as `read_bench`."""
    bench = read_bench(place)
    folder = path_of(place).parent
    if not all((folder / name).is_dir() for variant in bench.variants for name in variant.folders):
        return bench
    variants = tuple(as_measured(variant, [folder / name for name in variant.folders], folder) for variant in bench.variants)
    return msgspec.structs.replace(bench, variants=variants)


def exit_of(bench: Bench) -> ExitCode:
    """How a command ends that shows ``bench``: failed when a start failed, or the bench could not go on."""
    failed = bench.how == "aborted" or any(variant.failed for variant in bench.variants)
    return ExitCode.FAILED if failed else ExitCode.PASSED

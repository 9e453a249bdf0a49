"""``python -m sample_apps.wheels``: fetch what the images need into ``sample_apps/wheels``, so that they build without network.

The wheels are for the images' Python and for Linux on this machine's processor, whatever runs this. A second call finds them there and
asks nobody. Each file appears whole or not at all, so a build beside it meets no half of one.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "wheels"
REQUIREMENTS = tuple(HERE / name / "requirements.txt" for name in ("web", "streams", "workers", "state"))
_PYTHON = "3.11"
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_OLDEST_GLIBC, _GLIBC = 17, 36  # 2.36 is that of the images' Debian
# pip decides by the Python that runs it whether this is needed, and the images' may be older: redis asks for it before 3.11.3.
_FOR_AN_OLDER_PYTHON = ("async-timeout>=4.0.3",)
_BOUND_S = 240


def main() -> int:
    """Fetch the wheels unless they are there; 1 when they can't be had, with the reason on stderr."""
    machine = platform.machine()
    architecture = _ARCHITECTURES.get(machine.lower())
    if architecture is None:
        print(f"sample_apps.wheels: there are no wheels for the processor {machine!r}; build with network instead.", file=sys.stderr)
        return 1
    texts = "\n".join(path.read_text() for path in REQUIREMENTS)
    wanted = f"{texts}\n{_FOR_AN_OLDER_PYTHON} {_PYTHON} {architecture}"
    if _are_there(wanted):
        return 0
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=FOLDER.parent) as name:
        fetched = Path(name)
        try:
            ended = subprocess.run(_pip_download(fetched, architecture), stdin=subprocess.DEVNULL, check=False, timeout=_BOUND_S)
        except subprocess.TimeoutExpired:
            print(f"sample_apps.wheels: pip did not end within {_BOUND_S} s.", file=sys.stderr)
            return 1
        if ended.returncode != 0:
            print("sample_apps.wheels: pip could not fetch the wheels; its reason stands above.", file=sys.stderr)
            return 1
        _put_in_place(fetched, wanted)
    return 0


def _are_there(wanted: str) -> bool:
    stamp = FOLDER / "fetched.txt"
    if not stamp.is_file():
        return False
    names, _, fetched_for = stamp.read_text().partition("\n\n")
    return fetched_for == wanted and all((FOLDER / name).is_file() for name in names.splitlines())


def _pip_download(folder: Path, architecture: str) -> list[str]:
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(_GLIBC, _OLDEST_GLIBC - 1, -1)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--python-version", _PYTHON, "--implementation", "cp", "--dest", str(folder)]
    for each in [*platforms, f"manylinux2014_{architecture}"]:
        command += ["--platform", each]
    for path in REQUIREMENTS:
        command += ["--requirement", str(path)]
    return [*command, *_FOR_AN_OLDER_PYTHON]


def _put_in_place(fetched: Path, wanted: str) -> None:
    """Move the wheels, then remove older ones, then tell by the stamp that all is there."""
    names = sorted(path.name for path in fetched.glob("*.whl"))
    for name in names:
        (fetched / name).replace(FOLDER / name)
    for path in FOLDER.glob("*.whl"):
        if path.name not in names:
            path.unlink(missing_ok=True)
    stamp = fetched / "fetched.txt"
    stamp.write_text("\n".join(names) + "\n\n" + wanted)
    stamp.replace(FOLDER / stamp.name)


if __name__ == "__main__":
    raise SystemExit(main())

"""Stops whose signal ended in a shell or another init: it was the main process, and the app behind it never heard of the stop.

Three ways lead there. A command in shell form runs under ``sh -c``, and a shell does not pass signals on to what it waits for. A start
script that ends with the app's command instead of ``exec`` and that command stays process 1 of its container, with the app as its child.
So does any other program that starts the app, waits for it, and does not hand signals on; it shows by not holding the port itself, while
who does goes on serving as if nothing had happened.
What process 1 is comes from the container itself where there is one, because an image's own command is in no scenario.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from harness.checks.facts import Facts, Fault, Life
from harness.checks.metrics import stops_of
from harness.checks.wording import listed
from harness.units import span

SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})

MANAGERS: Final = frozenset(
    {
        *("npm", "npx", "yarn", "pnpm", "nodemon", "pm2", "pm2-runtime", "forever", "ts-node-dev"),
        *("supervisord", "honcho", "foreman", "overmind", "circusd", "watchmedo", "watchfiles", "entr", "cargo-watch"),
    }
)
"""Programs that start an app as their child, watch it and start it again."""

RELOADERS: Final[dict[str, frozenset[str]]] = {
    "flask": frozenset({"--debug", "--reload"}),
    "uvicorn": frozenset({"--reload"}),
    "hypercorn": frozenset({"--reload"}),
    "fastapi": frozenset({"dev"}),
    "manage": frozenset({"runserver"}),
    "node": frozenset({"--watch"}),
    "tsx": frozenset({"watch"}),
}
"""Servers that put a process of their own before the app when they are to reload it, and the words that make them."""

_INIT_ENDS: Final = " -- "
"""What stands between the engine's own init and the command that it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swallowed:
    """A stop that ended in a shell that runs a ``command`` or a ``script``, or in another ``init``; ``proof`` says what shows it."""

    fault: Fault
    by: Literal["command", "script", "init"]
    proof: str


def main_of(life: Life) -> str:
    """The command line of the app's first process: process 1 of a container, behind the engine's own init where it has one."""
    if life.contained is None or not life.contained.main:
        return life.command
    main = life.contained.main
    return main.partition(_INIT_ENDS)[2] or main if life.contained.init else main


def swallowed(facts: Facts) -> list[Swallowed]:
    """Stops whose signal ended in a shell, in order."""
    found = []
    for fault in stops_of(facts, None):
        by = _shell(facts, fault.victim)
        proof = _proof(fault) if by else ""
        if by and proof:
            found.append(Swallowed(fault=fault, by=by, proof=proof))
        elif not by and (proof := _proof_of_init(fault)):
            found.append(Swallowed(fault=fault, by="init", proof=proof))
    return found


def manager_of(command: str) -> str:
    """The reloader or process manager that ``command`` starts, in words: ``npm``, ``the reloader of flask``; empty for none."""
    words = [PurePosixPath(word).name.removesuffix(".js").removesuffix(".py") for word in command.split()]
    program = next((word for word in words[:4] if word in MANAGERS), "")
    if program:
        return program
    program = next((word for word in words[:4] if word in RELOADERS), "")
    return f"the reloader of {program}" if program and RELOADERS[program] & set(words) else ""


def went_on_serving(fault: Fault) -> bool:
    """The victim had to be killed, and the last knock before that was served."""
    before = [knock for knock in fault.victim.knocks if fault.killed and knock.done_ns <= fault.killed.at_ns]
    return bool(before) and before[-1].result == "served"


def _proof_of_init(fault: Fault) -> str:
    """What shows that process 1, no shell, kept the signal to itself; empty when nothing does."""
    life = fault.victim
    contained = life.contained
    if contained is None or contained.serves or contained.init or not went_on_serving(fault):
        return ""
    return (
        f"process 1 ({contained.main}) was killed at the end of the grace of {span(fault.signal.grace_s)}, and until then its child served"
    )


def _shell(facts: Facts, life: Life) -> Literal["command", "script"] | None:
    """How the main process is a shell that runs the app, and not the app itself."""
    contained = life.contained is not None and bool(life.contained.main)
    declared = facts.scenario.target.get(life.process)
    if not contained and declared is not None and declared.shell:
        return None if _text_of_shell(life.command).startswith("exec ") else "command"
    form, argument = _split(main_of(life))
    if form == "command":
        return None if argument.startswith("exec ") else "command"
    return "script" if form == "script" and contained else None


def _text_of_shell(command: str) -> str:
    form, argument = _split(command)
    return argument if form == "command" else ""


def _split(command: str) -> tuple[str, str]:
    """What a shell at the head of ``command`` runs: ``command`` with its text or ``script`` with its file; two empty texts for no shell."""
    program, *words = command.split() or [""]
    if PurePosixPath(program).name not in SHELLS:
        return "", ""
    while words and words[0][:1] in ("-", "+") and words[0] != "--":
        option = words.pop(0)
        if not option.startswith("--") and "c" in option[1:]:
            return "command", " ".join(words).lstrip("'\" ")
        if option[-1] in "oO" and words:  # -o pipefail
            words.pop(0)
    words = words[words[:1] == ["--"] :]
    return ("script", words[0]) if words else ("", "")


def _proof(fault: Fault) -> str:
    """What shows that the app did not hear of the stop; empty when nothing does."""
    life = fault.victim
    if life.exited is None:
        return ""
    if fault.killed:
        return f"the shell was killed at the end of the grace of {span(fault.signal.grace_s)}"
    ended = f"the shell ended {span(fault.exit_s or 0.0)} after {fault.signal.signal}"
    if life.survived:
        left = [process.command for event in life.survived for process in event.processes]
        return f"{ended}, and {listed(left)} went on"
    if life.cut_off:
        return f"{ended}, which killed {listed([process.command for process in life.cut_off.processes])}"
    return ""

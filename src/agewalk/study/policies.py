"""Which policies there are, by the names that scenarios use, and the kernel that a protocol runs in."""

import difflib
from typing import Final

from agewalk.core.errors import InputError, ScenarioError, UsageError
from agewalk.model.profiles import PROFILES, Profile, profile
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.enumerate import protocol_table
from agewalk.model.protocols.registry import get_protocol
from agewalk.study.job import Job

BASELINES: Final = {
    "two-list": "MGLRU off: the classic active and inactive lists, on the same host",
    "lru": "least recently used; sees every access",
    "fifo": "first in, first out",
    "clock": "FIFO with one reference bit",
    "random": "evicts any page, seeded",
    "opt": "Belady's bound: evicts what is used again last",
}


def check(job: Job, *, file: str = "", chosen: bool = False) -> None:
    """Raises ScenarioError for a policy, option or kernel that does not exist; it names the nearest.

    file: the scenario's, for messages. chosen: the policies are not from there, but from the command line.
    """
    host = f"{file}: host.kernel" if file else "host.kernel"
    where = f"{file}: compare." if file else "compare."
    protocols, baselines = (
        ("command line: --protocol", "command line: --baseline")
        if chosen
        else (f"{where}protocols", f"{where}baselines")
    )
    kernel = job.scenario.host.kernel
    if kernel not in PROFILES:
        raise ScenarioError(f"{host}: there is no profile {kernel!r}", hint=f"one of {', '.join(PROFILES)}")
    if not job.baseline:
        try:
            protocol = get_protocol(job.policy.spec)
            if job.policy.file is not None:
                protocol_table(protocol)  # does it run, on both readings alike?
        except (UsageError, InputError) as error:
            raise ScenarioError(f"{protocols}: {error}", hint=error.hint) from None
    elif job.policy.name not in BASELINES:
        near = difflib.get_close_matches(job.policy.name, BASELINES, n=1)
        known = f"the baselines are {', '.join(BASELINES)}"
        raise ScenarioError(
            f"{baselines}: there is no {job.policy.name!r}",
            hint=f"did you mean {near[0]!r}? {known}" if near else known,
        )


def kernel_of(job: Job) -> tuple[Profile, AgingProtocol]:
    """The protocol of a job and the kernel around it: its own (`linux-*`), else the scenario's. Baselines that run a kernel
    have the scenario's with its own protocol."""
    if job.baseline:
        kernel = profile(job.scenario.host.kernel)
        return kernel, get_protocol(kernel.protocol)
    protocol = get_protocol(job.policy.spec)
    return profile(protocol.profile or job.scenario.host.kernel), protocol

"""How many connections a process may have."""

from __future__ import annotations

import resource

SPARE_DESCRIPTORS = 64
"""What a process needs beside its connections."""


def descriptors_for(clients: int) -> int:
    """Raise this process' soft limit on open files as far as allowed; return how many clients fit, at most clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_DESCRIPTORS
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(0, min(clients, soft - SPARE_DESCRIPTORS))

"""Choose the network interface by which gloo reaches the ranks of other hosts.

By itself, gloo takes the address that stands for the host's own name. On Debian that is 127.0.1.1, at which no other
host finds it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress

import psutil

from bistil_ds.distributed import startup

VARIABLE = "GLOO_SOCKET_IFNAME"  # gloo's; what the user sets stays
ANYWHERE = "192.0.2.1"  # an address for documentation (RFC 5737); the default route leads there, and nothing is sent


def choose_interface() -> None:
    """Name the interface in the environment, in a run on several hosts; call it before the ranks join each other.

    It is the one that leads to rank 0's host; on rank 0's own host, if that is the loopback, the one that leads to
    other networks, or the only other one. If none of these is found, nothing is named.
    """
    if VARIABLE in os.environ or startup.local_world_size() >= startup.world_size():
        return
    found = _leading_to(os.environ["MASTER_ADDR"]) or _leading_to(ANYWHERE) or _only_one()
    if found is not None:
        os.environ[VARIABLE] = found


def _leading_to(host: str) -> str | None:
    """Return the interface by which this machine reaches a host; None if it is the loopback or cannot be told."""
    with suppress(OSError):
        for family, kind, _, _, address in socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.connect(address)
                return _named().get(probe.getsockname()[0])
    return None


def _only_one() -> str | None:
    names = set(_named().values())
    return names.pop() if len(names) == 1 else None


def _named() -> dict[str, str]:
    """Return address → name of its interface, for those that are up, without the loopback."""
    states, found = psutil.net_if_stats(), {}
    for name, addresses in psutil.net_if_addrs().items():
        if name not in states or not states[name].isup:
            continue
        for one in addresses:
            address = one.address.partition("%")[0]
            if one.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address).is_loopback:
                found[address] = name
    return found

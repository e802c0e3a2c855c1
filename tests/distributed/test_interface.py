"""Test which network interface gloo is told to use on several hosts."""

from __future__ import annotations

import socket
from typing import Any

import psutil
import pytest

from bistil_ds.distributed import interface

UP = {"lo": True, "eth0": True, "docker0": False}
ADDRESSES = {"lo": "127.0.0.1", "eth0": "10.0.0.1", "docker0": "172.17.0.1"}


class Address:
    def __init__(self, address: str) -> None:
        self.address, self.family = address, socket.AF_INET


class Probe:
    """A socket on a machine whose routes are a table: where it connects to → the address that it then has."""

    routes: dict[str, str]

    def __init__(self, *kind: Any) -> None:
        self.own = ""

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def connect(self, address: Any) -> None:
        if address[0] not in self.routes:
            raise OSError("Network is unreachable")
        self.own = self.routes[address[0]]

    def getsockname(self) -> tuple[str, int]:
        return self.own, 1


@pytest.mark.parametrize(
    ("routes", "up", "chosen"),
    [
        ({"10.0.0.2": "10.0.0.1"}, {}, "eth0"),
        ({"10.0.0.2": "127.0.1.1", "192.0.2.1": "10.0.0.1"}, {"docker0": True}, "eth0"),  # rank 0's own host
        ({"10.0.0.2": "127.0.1.1"}, {}, "eth0"),  # no default route, and one interface
        ({"10.0.0.2": "127.0.1.1"}, {"docker0": True}, None),  # one of two: gloo chooses
    ],
)
def test_the_interface_leads_to_rank_0_or_outside(
    routes: dict[str, str], up: dict[str, bool], chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {name: type("", (), {"isup": is_up}) for name, is_up in {**UP, **up}.items()}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: states)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {name: [Address(one)] for name, one in ADDRESSES.items()})
    monkeypatch.setattr(interface.socket, "socket", Probe)
    monkeypatch.setattr(Probe, "routes", routes, raising=False)
    environment = {"MASTER_ADDR": "10.0.0.2", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(interface.VARIABLE, "mine")
    interface.choose_interface()
    assert interface.os.environ[interface.VARIABLE] == "mine"
    monkeypatch.delenv(interface.VARIABLE)
    interface.choose_interface()
    assert interface.os.environ.pop(interface.VARIABLE, None) == chosen
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # one host: gloo's own choice is right
    interface.choose_interface()
    assert interface.VARIABLE not in interface.os.environ

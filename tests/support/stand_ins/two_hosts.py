"""Two hosts on one machine: each with its own network, name, processes, clock and /etc/hosts; the disk is shared.

A host is a set of Linux namespaces that one process holds. The two networks are joined by a pair of virtual network
devices, so that a link can be cut. When the holding process ends, all processes of its host end, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAMES = "node-a", "node-b"
NAMESPACES = ("--net", "--uts", "--ipc", "--mount", "--pid", "--time")
TOOLS = "unshare", "nsenter", "ip", "mount", "hostname"
HOSTFILE_TOOLS = "sshd", "ssh-keygen", "pdsh"
PLACES = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"  # where sshd is, on the path or not


def why_not() -> str | None:
    """Return why this machine cannot make two hosts; None if it can."""
    if os.geteuid():
        return "two hosts need root: network namespaces cannot be made"
    if missing := _missing(TOOLS):
        return f"two hosts need {missing} (Debian's iproute2 and util-linux)"
    tried = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"namespaces cannot be made: {tried.stderr.strip()}" if tried.returncode else None


def why_no_hostfile() -> str | None:
    """Return why DeepSpeed's hostfile cannot be used between two hosts; None if it can."""
    missing = _missing(HOSTFILE_TOOLS)
    return f"a hostfile needs {missing} (Debian's openssh-server and pdsh)" if missing else None


def _missing(tools: Sequence[str]) -> str:
    return ", ".join(tool for tool in tools if shutil.which(tool, path=PLACES) is None)


@dataclass(frozen=True)
class Host:
    """One of the two hosts; `pid` is that of the first process in its namespaces."""

    name: str
    holder: subprocess.Popen[bytes]
    pid: int

    def inside(self, *words: object) -> list[str]:
        """Return the words that run a command on this host."""
        kinds = ("-n", "-u", "-i", "-m", "-p", "-T")
        return ["nsenter", "-t", str(self.pid), *kinds, f"--wd={os.getcwd()}", *map(str, words)]

    def run(self, *words: object) -> str:
        """Run a short command on this host and return what it printed; raise if it fails."""
        return subprocess.run(self.inside(*words), check=True, capture_output=True, text=True, timeout=30).stdout

    def start(self, words: list[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command on this host, whose output goes to a file."""
        with log.open("wb") as file:
            return subprocess.Popen(self.inside(*words), env=environment, stdout=file, stderr=file)

    def cut(self) -> None:
        """Take this host off the network."""
        self.run("ip", "link", "set", "eth0", "down")

    def join(self) -> None:
        """Put this host on the network again."""
        self.run("ip", "link", "set", "eth0", "up")


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Make two hosts, which end with the block.

    Each host's own name stands for 127.0.1.1 in its /etc/hosts, as Debian writes it; the other's for its address.

    Args:
        folder: for the files that a host sees in place of the machine's own.
    """
    hosts: list[Host] = []
    try:
        for name in NAMES:
            hosts.append(_host(name))
        a, b = hosts
        _must("ip", "link", "add", "bistil0", "netns", a.pid, "type", "veth", "peer", "bistil1", "netns", b.pid)
        for number, host in enumerate(hosts):
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "link", "set", f"bistil{number}", "name", "eth0")
            host.run("ip", "addr", "add", f"10.66.0.{number + 1}/24", "dev", "eth0")
            host.join()
            others = [f"10.66.0.{n + 1} {other}\n" for n, other in enumerate(NAMES) if other != host.name]
            _replace(host, "/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n" + "".join(others), folder)
        yield a, b
    finally:
        for host in hosts:
            host.holder.kill()
            host.holder.wait()


def _host(name: str) -> Host:
    clock = ["--monotonic", "1000000"] if name == NAMES[1] else []  # seconds that its clock is ahead
    words = ["unshare", *NAMESPACES, *clock, "--fork", "--kill-child", "--mount-proc"]
    script = f"hostname {name} && echo ready && exec sleep infinity"
    holder = subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    return Host(name, holder, int(children[0]))


def _replace(host: Host, path: str, text: str, folder: Path) -> None:
    """Let a host see `text` at `path`."""
    own = folder / f"{host.name}{path.replace('/', '-')}"
    own.write_text(text)
    host.run("mount", "--bind", own, path)


def start_sshd(hosts: tuple[Host, Host], folder: Path) -> None:
    """Let every host be reached by ssh from the other and itself, without a password and with keys of its own."""
    key, daemon = folder / "ssh-key", folder / "sshd-key"
    for one in (key, daemon):
        _must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", one)
    (folder / "authorized").write_text(key.with_suffix(".pub").read_text())
    server = f"HostKey {daemon}\nAuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\n"
    client = f"Host *\nIdentityFile {key}\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
    (folder / "sshd_config").write_text(server)
    for host in hosts:
        _replace(host, "/etc/ssh/ssh_config", client, folder)
        host.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        host.run("mkdir", "/run/sshd")
        host.run(shutil.which("sshd", path=PLACES), "-f", folder / "sshd_config")


def _must(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=30)

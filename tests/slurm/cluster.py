"""A real Slurm of several nodes on this one host, for tests and for trying batch scripts.

    python tests/slurm/cluster.py bash         # a shell in which sinfo, sbatch, … talk to a cluster of two nodes

It needs root and Debian's ``slurmctld slurmd slurm-client munge``; nothing of systemd, of control groups or of the
network beyond the loopback. Everything of a cluster is in one folder, and its daemons end with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")
#: Seconds without an answer after which a node is down and its jobs go back to the queue.
NODE_TIMEOUT = 10

#: Where nothing is said, Slurm's default; each line here is needed on one host, without systemd, or fast in a test.
CONFIGURATION = """\
ClusterName=textok
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job cannot start before its first credential expires.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,defer_batch_delay=0
SlurmctldTimeout=30
SlurmdTimeout={timeout}
ReturnToService=2
KillWait=5
# A job of the partition "urgent" takes the place of one of "normal", which is told a minute before.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that a cluster needs and this machine lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


class Cluster:
    """A cluster that runs between ``start`` and ``stop``, or in a ``with`` block.

    Args:
        folder: Holds everything of it; short, for sockets have names of at most 107 bytes.
        nodes: Number of nodes. Their names are loopback addresses, so that a rendezvous at the first one works.
        cpus: CPUs of a node, which Slurm only counts.
    """

    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 2) -> None:
        self.folder = folder
        self.cpus = cpus
        self.nodes = [f"127.0.1.{number}" for number in range(1, nodes + 1)]
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.environment["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin"

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all daemons and wait until each node is idle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        ports = free_ports(len(self.nodes) + 1)
        lines = [CONFIGURATION.format(ports=ports, folder=self.folder, timeout=NODE_TIMEOUT).rstrip()]
        for node, port in zip(self.nodes, ports[1:]):
            (self.folder / f"spool-{node}").mkdir()
            lines.append(
                f"NodeName={node} NodeAddr=127.0.0.1 NodeHostname=localhost Port={port} CPUs={self.cpus} "
                "RealMemory=4000 State=UNKNOWN"
            )
        (self.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        options = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        options |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        self.run("munged", "--force", *(f"--{name}={self.folder / file}" for name, file in options.items()))
        self.run("slurmctld", "-c")
        for node in self.nodes:
            self.start_node(node)
        self.wait_for(lambda: self.states() == ["idle"] * len(self.nodes), 30, "nodes that are all idle")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node, also of one that was lost."""
        self.run("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """Lose a node at once, as a power cut does: its daemon, and what it runs."""
        daemon = int((self.folder / f"slurmd-{node}.pid").read_text())
        os.kill(daemon, signal.SIGKILL)
        for pid, environment in processes():
            if f"SLURM_CONF={self.folder}/slurm.conf" in environment and (
                f"SLURMD_NODENAME={node}" in environment or is_step_daemon(pid, f"slurmd-{node}.log")
            ):
                kill(pid)

    def states(self) -> list[str]:
        """What ``sinfo`` says of each node."""
        return self.run("sinfo", "-h", "-N", "-p", "normal", "-o", "%T").split()

    def run(self, *command: str | Path) -> str:
        """Run a command of Slurm against this cluster.

        Raises:
            AssertionError: If it fails.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What ``scontrol`` knows of a job."""
        told = self.run("scontrol", "-o", "show", "job", number)
        return dict(part.split("=", 1) for part in told.split() if "=" in part)

    def wait_for(self, happened, seconds: float, what: str) -> None:
        """Wait until something is so.

        Raises:
            AssertionError: If it is not within the time; the message ends with the controller's log and the jobs'.
        """
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                log = (self.folder / "slurmctld.log").read_text()[-3000:]
                raise AssertionError(f"waited {seconds:g} s in vain for {what}\n{log}\n{self.told()}")
            time.sleep(0.2)

    def told(self) -> str:
        """The state of each job and the end of its log."""
        jobs = [self.job(number) for number in self.run("squeue", "-h", "-t", "all", "-o", "%A").split()]
        logs = [(job, Path(job.get("StdOut", ""))) for job in jobs]
        return "\n".join(
            f"job {job['JobId']} is {job['JobState']}; {log} ends:\n{log.read_text()[-3000:] if log.is_file() else ''}"
            for job, log in logs
        )

    def stop(self) -> None:
        """End the jobs and the daemons."""
        if (self.folder / "slurmctld.pid").exists():
            subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True, timeout=20)
        pids = [int(text) for file in self.folder.glob("*.pid") if (text := file.read_text().strip())]
        for pid in pids:
            kill(pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
            time.sleep(0.1)
        # What a lost node ran, and daemons that did not end.
        for pid, environment in processes():
            if pid in pids or self._is_of_a_job(environment) or is_step_daemon(pid, f"{self.folder}/slurmd-"):
                kill(pid)

    def _is_of_a_job(self, environment: set[str]) -> bool:
        ours = f"SLURM_CONF={self.folder}/slurm.conf" in environment
        return ours and any(entry.startswith(("SLURM_JOB_ID=", "SLURMD_NODENAME=")) for entry in environment)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def processes() -> list[tuple[int, set[str]]]:
    """The processes that there are, each with its environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                text = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it has ended, or is not ours to look at
            found.append((int(folder.name), set(text.split("\0"))))
    return found


def is_step_daemon(pid: int, log: str) -> bool:
    """Whether a process is a slurmstepd, which watches over a node's tasks and writes to the log of its slurmd."""
    try:
        files = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
        return Path(f"/proc/{pid}/comm").read_text().strip() == "slurmstepd" and any(log in file for file in files)
    except OSError:
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(command: list[str]) -> int:
    """Run a command while there is a cluster, and return its exit code."""
    if missing():
        print(f"there is no {', '.join(missing())}: apt-get install slurmctld slurmd slurm-client munge")
        return 1
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, Cluster(Path(folder)) as cluster:
        return subprocess.run(command or ["sinfo"], env=cluster.environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

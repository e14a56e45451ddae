"""Processes and what they spend: the API server, the upstreams, one server at a time, and the
load."""
import json
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import configs

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests/conformance/tools"
TICK = 1 / os.sysconf("SC_CLK_TCK")


def free_port():
    """Returns a port below the ephemeral range, free for datagrams and streams."""
    while True:
        port = random.randrange(15_000, 32_000)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as s:
                    s.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port


def pinned(cpus, *command, source=subprocess.DEVNULL, **options):
    """Starts a command on these cores; `source` is its input."""
    return subprocess.Popen(["taskset", "-c", cpus, *map(str, command)], stdin=source, **options)


def family(pid):
    """Returns a process and its descendants: some servers answer in a child."""
    members = [pid]
    for parent in members:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            members += map(int, children.read_text().split())
    return members


def spent(pid):
    """Returns the processor seconds of a process and its children so far, and the share of user
    time.

    The kernel counts the sum in nanoseconds (schedstat), and the parts in ticks of 10 ms.
    """
    user = system = nanos = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
        for task in Path(f"/proc/{member}/task").glob("*/schedstat"):
            nanos += int(task.read_text().split()[0])
    return nanos / 1e9, user * TICK, system * TICK


def is_floor(name):
    """Returns whether this is the bare UDP loop instead of a DNS server."""
    return name in ("echo", "echo-sized")


class Failed(Exception):
    """A server that does not answer, or answers wrongly."""


class Bed:
    """Everything that runs while a row is measured. Must be closed."""

    def __init__(self, work, target, signposts, server_cpu, load_cpu):
        self.work, self.target, self.signposts = work, target, signposts
        self.server_cpu, self.load_cpu = server_cpu, load_cpu
        self.peers, self.bench, self.echo = target / "peers", target / "release/signpost-bench", target / "release/examples/echo"
        self.api, self.upstreams, self.running = None, {}, []
        for zone, text in configs.zones().items():
            (work / f"{zone}.zone").write_text(text)

    #----------- What stands around the server ---------------------------------

    def cluster(self):
        """Starts the API server with the fixture of the conformance tests and the objects of the
        questions, once."""
        if self.api is not None:
            return self.api
        self.environment = {**os.environ, "STATE": str(self.work / "state"), "PEERS": str(self.peers), "CARGO_TARGET_DIR": str(self.target)}
        (self.work / "state").mkdir(exist_ok=True)
        self.api = {}
        told = subprocess.run(["taskset", "-c", self.load_cpu, TOOLS / "cluster.sh", "start"], env=self.environment, check=True,
                              capture_output=True, text=True).stdout
        exported = next(line for line in told.splitlines() if line.startswith("export "))
        self.api = dict(word.split("=", 1) for word in exported.split()[1:])
        (self.work / "objects.yaml").write_text("---\n".join(json.dumps(o) + "\n" for o in configs.objects()))
        subprocess.run([self.peers / "venv/bin/python", TOOLS / "load.py", self.work / "objects.yaml"], env={**self.environment, **self.api},
                       check=True, stdout=subprocess.DEVNULL)
        return self.api

    def upstream(self, kind):
        """Returns the port of the server behind `forward`: `loop` answers everything alike and
        fast, `zone` knows one name."""
        if kind not in self.upstreams:
            port = free_port()
            (self.work / "upstream.json").write_text(configs.upstream())
            command = [self.echo, f"127.0.0.1:{port}", ".", "192.0.2.1"] if kind == "loop" else \
                [self.peers / "venv/bin/python", TOOLS / "fakeupstream.py", port, self.work / "upstream.json"]
            self.upstreams[kind] = port, pinned(self.load_cpu, *command)
        return self.upstreams[kind][0]

    def close(self):
        for process in [*self.running, *(process for _, process in self.upstreams.values())]:
            process.kill()
            process.wait()
        if self.api is not None:
            subprocess.run([TOOLS / "cluster.sh", "stop"], env=self.environment, check=False)

    #----------- One server ----------------------------------------------------

    def installed(self, name):
        return name in ("echo", "echo-sized", "coredns", *self.signposts) or shutil.which(configs.COMMANDS[name][1][0]) is not None

    def command(self, name, row, port):
        upstream = self.upstream("loop" if "{n}" in row.questions[0] else "zone")
        if is_floor(name):
            asked = row.questions[0].split()[0] if len(row.questions) == 1 and "{n}" not in row.questions[0] else "."
            return [self.echo, f"127.0.0.1:{port}", asked, "192.0.2.1", row.records if name == "echo-sized" else 1]
        pki = self.work / "state/pki"
        if row.transport == "tls":
            self.cluster()  # it has the certificate
        config = self.work / f"{name}.conf"
        if name == "coredns" or name in self.signposts:
            api = {} if row.corefile == "forward" else self.cluster()
            template = (ROOT / "tests/conformance/corefiles/kubeadm.Corefile").read_text()
            config.write_text(configs.corefile(row.corefile, template, port, free_port, api, upstream, pki))
            program = [self.signposts[name]] if name in self.signposts else ["env", f"GOMAXPROCS={row.cores}", self.peers / "coredns"]
            return [*program, "-conf", config]
        write, command = configs.COMMANDS[name]
        config.write_text(write(port=port, work=self.work, upstream_port=upstream, pki=pki, corefile_kind=row.corefile, transport=row.transport))
        return [word.format(config=config) for word in command]

    def load(self, row, name, port, *options):
        """Asks; returns the report, or None if a reply was lost or wrong."""
        questions, written = self.work / "questions", self.work / "report.json"
        written.unlink(missing_ok=True)
        # The floor answers every question alike, so its replies are compared with its first.
        lines = [line if not is_floor(name) else " ".join(line.split()[:2]) for line in row.questions]
        questions.write_text("\n".join(lines) + "\n")
        transport = "udp" if is_floor(name) else row.transport
        cpus = self.load_cpu if row.cores == 1 else f"{self.server_cpu},{self.load_cpu}"
        done = subprocess.run(["taskset", "-c", cpus, self.bench, "load", "--server", f"127.0.0.1:{port}", "--questions", questions,
                               "--transport", transport, "--clients", "20", "--json", written, "--quiet", *map(str, options)],
                              capture_output=True, text=True, check=False)
        self.told = done.stdout + done.stderr
        report = json.loads(written.read_text()) if written.exists() else {"answered": 0}
        # Queries that an open loop did not send in time are its own fault, and count as latency.
        return report if report["answered"] and not report["lost"] and not report["wrong"] else None

    def wait(self, row, name, port, server, log):
        """Waits until every question of the row is answered right, which also fills the caches."""
        deadline = time.monotonic() + 20
        while self.load(row, name, port, "--queries", len(row.questions), "--timeout", 0.3) is None:
            if server.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} does not answer the row {row.name}:\n{log.read_text()[-2000:]}\n{self.told}")
            time.sleep(0.1)

    def measure(self, row, name, seconds):
        """Runs one round: starts the server, warms it and loads it. Returns the load's report, with
        CPU times in µs per reply."""
        port, log = free_port(), self.work / "log"
        cpus = self.server_cpu if row.cores == 1 else f"{self.server_cpu},{self.load_cpu}"
        command = self.command(name, row, port)
        with open(log, "wb") as out:
            server = pinned(cpus, *command, stdout=subprocess.PIPE if row.corefile == "log" else out, stderr=out)
        # A process has to read the log, as a container runtime does; this one counts the lines.
        reader = pinned(self.load_cpu, "wc", "-l", source=server.stdout, stdout=subprocess.PIPE, text=True) if server.stdout else None
        if reader:
            server.stdout.close()
        self.running = [process for process in (server, reader) if process]
        try:
            return self.loaded(row, name, seconds, port, server, reader, log)
        finally:
            for process in self.running:
                process.kill()
                process.wait()
            self.running = []

    def loaded(self, row, name, seconds, port, server, reader, log):
        self.wait(row, name, port, server, log)
        pace = ["--rate", row.rate] if row.rate else ["--outstanding", 192]
        warm = self.load(row, name, port, *pace, "--warm-up", 0, "--seconds", 0.5)
        before = spent(server.pid)
        report = warm and self.load(row, name, port, *pace, "--warm-up", 0, "--seconds", seconds)
        after = spent(server.pid)
        server.terminate()
        server.wait()
        if report is None:
            raise Failed(f"{name} did not answer the row {row.name} right:\n{self.told}")
        ran, user, system = (b - a for a, b in zip(before, after))
        report["cpu_us"] = ran * 1e6 / report["answered"]
        report["user_us"] = report["cpu_us"] * user / max(user + system, TICK)
        report["system_us"] = report["cpu_us"] - report["user_us"]
        if reader:
            report["logged"] = int(reader.communicate()[0]) / (warm["answered"] + report["answered"])
        return report

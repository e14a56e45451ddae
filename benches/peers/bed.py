"""Processes and what they spend: the cluster, the upstreams, one server at a time, and the load."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import configs
from names import Names
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
TICK = 1 / os.sysconf("SC_CLK_TCK")


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


def end(process):
    """Kills a process and its descendants; a polite end takes some servers two seconds."""
    if process.poll() is None:
        for member in family(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
    process.wait()


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
    """Everything that runs while a cell is measured. Must be closed."""

    def __init__(self, work, target, signposts, server_cpu, load_cpu):
        self.work, self.target, self.signposts = work, target, signposts
        self.server_cpu, self.load_cpu = server_cpu, load_cpu
        self.bench, self.bed = target / "release/signpost-bench", target / "release/examples/scale-bed"
        self.running, self.standing = [], []

    def start(self):
        """Starts what stands around each server, and writes what they all read."""
        cluster = self.stand(self.bed, "127.0.0.1:0", "names", stdout=subprocess.PIPE, text=True)
        self.api = cluster.stdout.readline().strip()
        self.names = Names(self.told("records"))
        # For the rows whose names are new each time: it answers everything alike, and fast.
        self.loop = f"127.0.0.1:{free_port()}"
        self.stand(self.bed, "floor", self.loop, ".", "192.0.2.1")
        for zone, lines in configs.zones(self.names.records):
            (self.work / f"{zone}.zone").write_text("\n".join(lines) + "\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=signpost.test",
                        "-keyout", self.work / "server.key", "-out", self.work / "server.crt"], check=True, capture_output=True)

    #----------- What stands around the server ---------------------------------

    def stand(self, *command, **options):
        """Starts a process beside the load, until the bed is closed."""
        self.standing.append(pinned(self.load_cpu, *command, **options))
        return self.standing[-1]

    def told(self, command):
        """Tells the cluster something (benches/scale/control.rs); returns its answer."""
        with urllib.request.urlopen(f"http://{self.api}/bed/{command}", timeout=30) as reply:
            return reply.read().decode()

    def close(self):
        for process in [*self.running, *self.standing]:
            end(process)

    #----------- One server ----------------------------------------------------

    def program(self, name):
        """Returns the program behind the name of a Signpost, or `None` if it is another server."""
        return self.signposts.get(name.removesuffix("-bare"))

    def installed(self, name):
        return is_floor(name) or name == "coredns" or self.program(name) is not None or shutil.which(configs.COMMANDS[name][1][0]) is not None

    def command(self, name, row, questions, port):
        upstream = self.loop if row.kind == "new" else self.api
        if is_floor(name):
            asked = questions[0].split()[0] if len(questions) == 1 and row.kind != "new" else "."
            return [self.bed, "floor", f"127.0.0.1:{port}", asked, "192.0.2.1", row.records if name == "echo-sized" else 1]
        config, program = self.work / f"{name}.conf", self.program(name)
        if name == "coredns" or program:
            kind = "bare" if name.endswith("-bare") else row.corefile
            template = (ROOT / "tests/conformance/corefiles/kubeadm.Corefile").read_text()
            config.write_text(configs.corefile(kind, template, port, free_port, self.api, upstream, self.work))
            return [*([program] if program else ["env", f"GOMAXPROCS={row.cores}", self.target / "peers/coredns"]), "-conf", config]
        write, command = configs.COMMANDS[name]
        config.write_text(write(port=port, work=self.work, records=self.names.records, upstream=upstream, pki=self.work, kind=row.kind,
                                transport=row.transport))
        return [word.format(config=config) for word in command]

    def load(self, cell, name, questions, port, *options):
        """Asks; returns the report, or None if a reply was lost or wrong."""
        row, file, written = cell.row, self.work / "questions", self.work / "report.json"
        written.unlink(missing_ok=True)
        # The floor answers every question alike, so its replies are compared with its first.
        file.write_text("".join((line if not is_floor(name) else " ".join(line.split()[:2])) + "\n" for line in questions))
        transport = "udp" if is_floor(name) else row.transport
        cpus = self.load_cpu if row.cores == 1 else f"{self.server_cpu},{self.load_cpu}"
        done = subprocess.run(["taskset", "-c", cpus, self.bench, "load", "--server", f"127.0.0.1:{port}", "--questions", file,
                               "--transport", transport, "--clients", "20", "--json", written, "--quiet", *map(str, options)],
                              capture_output=True, text=True, check=False)
        self.said = done.stdout + done.stderr
        report = json.loads(written.read_text()) if written.exists() else {"answered": 0}
        self.answered += report["answered"]
        # Queries that an open loop did not send in time are its own fault, and count as latency.
        return report if report["answered"] and not report["lost"] and not report["wrong"] else None

    def wait(self, cell, name, questions, port, server, log):
        """Waits until the first question is answered right, then until every question of the cell is,
        which also fills the caches."""
        deadline = time.monotonic() + 30
        for count, patience in ((1, 0.05), (len(questions), 0.3)):
            while self.load(cell, name, questions, port, "--queries", count, "--timeout", patience) is None:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"{name} does not answer {cell.title}:\n{log.read_text()[-2000:]}\n{self.said}")
                time.sleep(0.02)

    def measure(self, cell, name, seconds):
        """Runs one round: starts the server, asks each question once, warms it and loads it. Returns
        the load's report, with CPU times in µs per reply."""
        row, port, log = cell.row, free_port(), self.work / "log"
        self.answered = 0
        questions = self.names.questions(row.kind, cell.names)
        cpus = self.server_cpu if row.cores == 1 else f"{self.server_cpu},{self.load_cpu}"
        command = self.command(name, row, questions, port)
        with open(log, "wb") as out:
            server = pinned(cpus, *command, stdout=subprocess.PIPE if row.corefile == "log" else out, stderr=out)
        # A process has to read the log, as a container runtime does; this one counts the lines.
        reader = pinned(self.load_cpu, "wc", "-l", source=server.stdout, stdout=subprocess.PIPE, text=True) if server.stdout else None
        if reader:
            server.stdout.close()
        self.running = [process for process in (server, reader) if process]
        try:
            self.wait(cell, name, questions, port, server, log)
            return self.loaded(cell, name, questions, seconds, port, server, reader)
        finally:
            for process in self.running:
                end(process)
            self.running = []

    def loaded(self, cell, name, questions, seconds, port, server, reader):
        row = cell.row
        pace = ["--rate", row.rate] if row.rate else ["--outstanding", 192]
        changes = row.changes if cell.names > 1 else 0
        self.told(f"rate?n={changes}")
        load = lambda for_: self.load(cell, name, questions, port, *pace, "--law", cell.law, "--warm-up", 0, "--seconds", for_)
        warm = load(0.5)
        before = spent(server.pid)
        report = warm and load(seconds)
        after = spent(server.pid)
        self.told("rate?n=0")
        if report is None:
            raise Failed(f"{name} did not answer {cell.title} right:\n{self.said}")
        ran, user, system = (b - a for a, b in zip(before, after))
        report["cpu_us"] = ran * 1e6 / report["answered"]
        report["user_us"] = report["cpu_us"] * user / max(user + system, TICK)
        report["system_us"] = report["cpu_us"] - report["user_us"]
        if reader:
            server.terminate()  # so that it writes all lines
            server.wait()
            report["logged"] = int(reader.communicate()[0]) / self.answered
        return report

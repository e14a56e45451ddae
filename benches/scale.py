#!/usr/bin/env python3
"""The cost of a cluster of 5,000 nodes for a server: memory, start, relists, changes, and latency
during changes.

    scale.py [--only signpost,coredns] [--part small,nodes,pods,latency] [--minute SECONDS] [--into FILE] [--out FILE]

Signpost and CoreDNS in turn on one core; the data (benches/scale: an API server of 8,200 Services,
8,875 EndpointSlices with 150,000 endpoints, and 150,000 Pods) and the load on another. The Corefile
is kubeadm's, with `pods verified` where Pods count. Writes its results into FILE (JSON; earlier
results are kept, so a run may be split into parts), and a table to --out.
Default: all of it, 8 minutes, benches/runs/DATE-MACHINE-scale.md.
Environment: SERVER_CPU (0), LOAD_CPU (1), SIGNPOST, COREDNS.
Exit status 3: CoreDNS or a tool is missing.
"""
import argparse, contextlib, datetime, json, os, re, shutil, socket, statistics, struct, subprocess, sys, tempfile, time
import urllib.request

from ports import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target"))
SERVER_CPU, LOAD_CPU = os.environ.get("SERVER_CPU", "0"), os.environ.get("LOAD_CPU", "1")
PROGRAMS = {"signpost": os.environ.get("SIGNPOST", f"{TARGET}/release/signpost"),
            "coredns": os.environ.get("COREDNS", f"{TARGET}/peers/coredns"),
            "floor": f"{TARGET}/release/examples/scale-bed"}
BED, LOAD = PROGRAMS["floor"], f"{TARGET}/release/signpost-bench"
TITLES = {"signpost": "Signpost", "coredns": "CoreDNS", "floor": "bare UDP loop"}
HZ = os.sysconf("SC_CLK_TCK")


# ----------- Processes

@contextlib.contextmanager
def process(command, cpu, **more):
    child = subprocess.Popen(["taskset", "-c", cpu, *command], stdin=subprocess.DEVNULL, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def bed(size):
    """Runs an API server; yields a function that sends it a command."""
    with process([BED, "127.0.0.1:0", size], LOAD_CPU, stdout=subprocess.PIPE, text=True) as child:
        address = child.stdout.readline().strip()

        def command(text, seconds=170):
            with urllib.request.urlopen(f"http://{address}/bed/{text}", timeout=seconds) as reply:
                return reply.read().decode()
        command.address = address
        yield command


def corefile(work, port, api, tls, pods):
    with open(f"{ROOT}/tests/conformance/corefiles/kubeadm.Corefile") as file:
        text = file.read()
    values = {"DNS_PORT": port, "HEALTH_PORT": free_port(), "READY_PORT": free_port(), "METRICS_PORT": free_port(),
              "KUBE_API": api if tls else f"http://{api}", "KUBE_TLS": tls, "UPSTREAM": f"127.0.0.1:{free_port()}"}
    text = re.sub(r"\{\$(\w+)\}", lambda found: str(values[found[1]]), text)
    if pods:
        text = text.replace("pods insecure", "pods verified")
    with open(f"{work}/Corefile", "w") as file:
        file.write(text)


@contextlib.contextmanager
def server(name, api, pods=False, tls=""):
    """Runs a server; yields its process, which has a port and a start time. With `tls`, a line of
    the Corefile, `api` is a URL."""
    with tempfile.TemporaryDirectory() as work:
        port = free_port()
        corefile(work, port, api, tls, pods)
        command = [PROGRAMS[name], "-conf", f"{work}/Corefile"]
        if name == "floor":
            command = [BED, "floor", f"127.0.0.1:{port}", ".", "10.0.0.1"]
        log = open(f"{work}/log", "w")
        born = time.perf_counter()
        with process(command, SERVER_CPU, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"}) as child:
            child.port, child.born = port, born
            try:
                yield child
            except Exception:
                sys.stderr.write(open(f"{work}/log").read()[-3000:])
                raise


def status(child, field):
    """Returns a line of /proc/PID/status in MB."""
    with open(f"/proc/{child.pid}/status") as file:
        found = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)
    return int(found[1]) * 1024 / 1e6


def cpu(child):
    """Returns the CPU seconds that it has used."""
    with open(f"/proc/{child.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HZ


# ----------- What is measured

def first_answer(child, name, address, patience=300):
    """Returns the seconds from a server's start until it answers `name` with `address`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    packet = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    wanted = socket.inet_aton(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", child.port))
        one.settimeout(0.005)
        while time.perf_counter() - child.born < patience:
            if child.poll() is not None:
                raise RuntimeError(f"the server ended with status {child.returncode}")
            try:
                one.send(packet)
                if wanted in one.recv(4096)[len(packet):]:
                    return time.perf_counter() - child.born
                time.sleep(0.001)
            except socket.timeout:
                pass
            except ConnectionRefusedError:
                time.sleep(0.0005)
    raise RuntimeError(f"no answer for {name} within {patience} s")


def lists(command):
    return json.loads(command("counts"))["lists"]


def wait_lists(command, wanted, patience=120):
    """Waits until each of these kinds has been listed more often than before."""
    end = time.time() + patience
    while any(lists(command).get(kind, 0) <= before for kind, before in wanted.items()):
        if time.time() > end:
            raise RuntimeError(f"no new list of all of {list(wanted)} within {patience} s: {lists(command)}")
        time.sleep(0.05)


def relist(child, command, kinds):
    """Returns the peak memory while everything is listed again, and the memory afterwards."""
    before = {kind: lists(command).get(kind, 0) for kind in kinds}
    with open(f"/proc/{child.pid}/clear_refs", "w") as file:
        file.write("5")
    spent = cpu(child)
    command("expire")
    wait_lists(command, before)
    time.sleep(3)
    return {"relist peak": status(child, "VmHWM"), "after relist": status(child, "VmRSS"), "relist CPU": cpu(child) - spent}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def small(name, minute):
    with bed("small") as command:
        last = json.loads(command("last"))["service"]
        starts = []
        for _ in range(7):
            with server(name, command.address) as child:
                starts.append(first_answer(child, *last))
        return {"first answer": statistics.median(starts), "starts": starts}


def start(child, command, what, kinds):
    """First answers, CPU and memory of a start; `what` are names with addresses."""
    found = {f"first {key}": first_answer(child, *value) for key, value in what.items()}
    wait_lists(command, dict.fromkeys(kinds, 0))
    time.sleep(2)
    return {**found, "sync CPU": cpu(child), "sync peak": status(child, "VmHWM"), "after sync": status(child, "VmRSS")}


def nodes(name, minute):
    kinds = ["Namespace", "Service", "Slice"]
    with bed("5000") as command:
        last = {"answer": json.loads(command("last"))["service"]}
        firsts = []
        for _ in range(2):
            with server(name, command.address) as child:
                firsts.append(first_answer(child, *last["answer"]))
    with bed("5000") as command, server(name, command.address) as child:
        result = start(child, command, last, kinds)
        result["starts"] = [*firsts, result["first answer"]]
        result["first answer"] = statistics.median(result["starts"])
        time.sleep(minute)
        result["a minute later"] = status(child, "VmRSS")
        result |= relist(child, command, kinds)
        for rate, count in [(0, 100), (100, 100), (1000, 200)]:
            command(f"rate?n={rate}")
            time.sleep(0.5)
            spent, began = cpu(child), time.time()
            time.sleep(5)
            result[f"CPU at {rate}"] = (cpu(child) - spent) / (time.time() - began)
            micros = json.loads(command(f"probe?server=127.0.0.1:{child.port}&n={count}"))
            if "error" in micros:
                raise RuntimeError(micros["error"])
            result[f"event at {rate}"] = [percentile(micros, 0.5), percentile(micros, 0.99), max(micros)]
        command("rate?n=0")
        result["after events"] = status(child, "VmRSS")
        return result


def pods(name, minute):
    kinds = ["Namespace", "Service", "Slice", "Pod"]
    with bed("5000") as command, server(name, command.address, pods=True) as child:
        last = json.loads(command("last"))
        result = start(child, command, {"answer": last["service"], "pod": last["pod"]}, kinds)
        time.sleep(minute)
        result["a minute later"] = status(child, "VmRSS")
        return result | relist(child, command, kinds)


def latency(name, minute):
    with bed("5000") as command, server(name, command.address) as child, tempfile.TemporaryDirectory() as work:
        if name != "floor":
            first_answer(child, *json.loads(command("last"))["service"])
            time.sleep(2)
        with open(f"{work}/names", "w") as file:
            file.write(command("names"))
        command("rate?n=100")
        rounds = []
        for _ in range(3):
            subprocess.run(["taskset", "-c", LOAD_CPU, LOAD, "load", "-s", f"127.0.0.1:{child.port}", "-q", f"{work}/names",
                            "--rate", "10000", "--seconds", "10", "--quiet", "--json", f"{work}/json"],
                           check=name == "signpost", stdout=subprocess.DEVNULL)
            # Other servers may lose queries, for which the load generator exits with 1: the page
            # counts them.
            with open(f"{work}/json") as file:
                rounds.append(json.load(file))
        return {"rounds": rounds}


PARTS = {"small": small, "nodes": nodes, "pods": pods, "latency": latency}


# ----------- The page

def number(value, unit):
    if value is None:
        return "–"
    if unit == "MB":
        return f"{value:,.1f} MB" if value < 100 else f"{value:,.0f} MB"
    if unit == "s":
        return f"{value * 1e3:,.0f} ms" if value < 2 else f"{value:.1f} s"
    return str(value)


def page(results, minute):
    names = [name for name in ("signpost", "coredns") if name in results]
    rows = []

    def row(title, part, key, unit, goal):
        values = [results[name].get(part, {}).get(key) for name in names]
        rows.append(f"| {title} | {' | '.join(number(value, unit) for value in values)} | {goal} |")
    row("exec to first answer, 1,000 Services", "small", "first answer", "s", "25 ms")
    for part, what, memory, first in [("nodes", "5,000 nodes", "40 MB", "300 ms"), ("pods", "with Pods", "60 MB", "")]:
        row(f"{what}: exec to the first answer, of the last Service", part, "first answer", "s", first)
        if part == "pods":
            row(f"{what}: exec to the first answer, of the last Pod", part, "first pod", "s", "3 s")
        row(f"{what}: CPU to sync", part, "sync CPU", "s", "")
        row(f"{what}: resident after sync", part, "after sync", "MB", memory)
        row(f"{what}: {minute:.0f} s later", part, "a minute later", "MB", memory)
        row(f"{what}: peak while syncing", part, "sync peak", "MB", "1.15 x")
        row(f"{what}: peak of a forced relist", part, "relist peak", "MB", "1.15 x")
        row(f"{what}: after the relist", part, "after relist", "MB", "")
        row(f"{what}: CPU of the relist", part, "relist CPU", "s", "")
    for rate, goal in [(0, "500, 1,000"), (100, ""), (1000, "p99 5,000")]:
        values = [results[name].get("nodes", {}).get(f"event at {rate}") for name in names]
        cells = [", ".join(f"{micros:,}" for micros in value) if value else "–" for value in values]
        rows.append(f"| event to answer, {rate:,} changes a second: p50, p99, worst, µs | {' | '.join(cells)} | {goal} |")
        values = [results[name].get("nodes", {}).get(f"CPU at {rate}") for name in names]
        cells = [f"{value * 100:.1f} %" if value is not None else "–" for value in values]
        rows.append(f"| CPU of {rate:,} changes a second, of a core | {' | '.join(cells)} | |")
    rows.append("| resident after all changes | " + " | ".join(
        number(results[name].get("nodes", {}).get("after events"), "MB") for name in names) + " | |")
    out = ["| figure | " + " | ".join(TITLES[name] for name in names) + " | goal |", "|---" * (len(names) + 2) + "|", *rows]
    measured = [name for name in ("floor", "signpost", "coredns") if "latency" in results.get(name, {})]
    if measured:
        out += ["", "Latency at 10,000 queries a second while 100 slices change a second, µs, medians of three rounds (lowest and",
                "highest), names of all ClusterIP Services in turn:", "",
                "| server | p50 | p90 | p99 | p99.9 | lost, wrong |", "|---|---|---|---|---|---|"]
        out += [latency_row(name, results[name]["latency"]["rounds"]) for name in measured]
    return "\n".join(out)


def latency_row(name, rounds):
    def cell(key):
        values = [one["latency_us"][key] for one in rounds]
        return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"
    bad = f"{sum(one['lost'] for one in rounds)}, {sum(one['wrong'] for one in rounds)}"
    return f"| {TITLES[name]} | " + " | ".join(cell(key) for key in ("p50", "p90", "p99", "p99.9")) + f" | {bad} |"


def heading(minute):
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())[1]
    revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([PROGRAMS["coredns"], "-version"], capture_output=True, text=True).stdout.split("\n")[0]
    return [f"# A cluster of 5,000 nodes, {datetime.date.today()}", "",
            f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}. `just bench-scale`: server on one core, data and load on the",
            "other. 8,200 Services, 8,875 EndpointSlices, 150,000 endpoints, 150,000 Pods, by benches/scale over plain",
            "HTTP in what is asked for: protobuf.",
            f"Signpost {revision}, {version}.", ""]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="signpost,coredns,floor")
    options.add_argument("--part", default=",".join(PARTS))
    options.add_argument("--minute", type=float, default=60, help="seconds until memory is looked at again")
    options.add_argument("--limit", type=float, help="MiB; exit status 1 if a peak of Signpost is above")
    options.add_argument("--into", help="JSON of what was measured")
    options.add_argument("--out", help="the page; - for stdout")
    options = options.parse_args()
    needed = [BED, *([LOAD] if "latency" in options.part else []), *(PROGRAMS[name] for name in options.only.split(","))]
    for tool in [path for path in needed if not os.path.exists(path)] + [tool for tool in ["taskset"] if not shutil.which(tool)]:
        print(f"scale.py: {tool} is missing", file=sys.stderr)
        return 3
    results = {}
    if options.into and os.path.exists(options.into):
        with open(options.into) as file:
            results = json.load(file)
    for part in options.part.split(","):
        for name in options.only.split(","):
            if name == "floor" and part != "latency":
                continue
            print(f"{part}: {name}", file=sys.stderr, flush=True)
            found = PARTS[part](name, options.minute)
            print({key: value for key, value in found.items() if key != "rounds"}, file=sys.stderr, flush=True)
            results.setdefault(name, {})[part] = found
            if options.into:
                with open(options.into, "w") as file:
                    json.dump(results, file)
    text = "\n".join([*heading(options.minute), page(results, options.minute)]) + "\n"
    machine = re.sub(r"[^A-Za-z0-9]+", "-", re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())[1]).lower()
    out = options.out or f"{HERE}/runs/{datetime.date.today()}-{os.cpu_count()}-core-{machine}-scale.md"
    if out != "-":
        with open(out, "w") as file:
            file.write(text)
    print(text)
    if options.limit:
        peak = max(value for part in results["signpost"].values() for key, value in part.items() if key.endswith("peak")) * 1e6 / 2**20
        print(f"peak {peak:.1f} MiB, limit {options.limit:.0f} MiB")
        return int(peak > options.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())

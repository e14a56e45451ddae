#!/usr/bin/env python3
"""The cost of an answer for whole servers: queries a second and CPU per query, for Signpost,
CoreDNS, a bare UDP loop (benches/echo.rs), which is the floor, and good servers of other kinds if
Debian has them.

Each server runs on one core and the load (signpost-bench: closed loop, 192 queries outstanding,
every reply checked) on another, in turn, against a real API server. Needs the peers
(tests/peers/build.sh) and release builds: `just bench-peers`.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bed import ROOT, Bed, Failed
from rows import ROWS
from table import page


def arguments():
    parser = argparse.ArgumentParser(prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", metavar="NAME,...", help="which rows: " + ", ".join(row.name for row in ROWS))
    parser.add_argument("--only", metavar="NAME,...", help="which servers: echo, echo-sized, coredns, signpost, nsd, knot, unbound, dnsmasq, dnsdist")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement; 3")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keeps the rounds as JSON lines; those that are there are part of the table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; benches/runs/DATE-MACHINE-peers.md, with the rows' names if not all are measured")
    parser.add_argument("--signpost", type=Path, metavar="PROGRAM", help="target/release/signpost")
    parser.add_argument("--before", type=Path, metavar="PROGRAM", help="another Signpost, to be measured beside")
    parser.add_argument("--server-cpu", default="0", metavar="N")
    parser.add_argument("--load-cpu", default="1", metavar="N")
    asked = parser.parse_args()
    known = {row.name for row in ROWS}
    asked.name = f"peers-{asked.rows.replace(',', '-')}" if asked.rows else "peers"
    asked.rows = asked.rows.split(",") if asked.rows else [row.name for row in ROWS]
    if unknown := set(asked.rows) - known:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in ROWS)}")
    asked.only = asked.only and asked.only.split(",")
    return asked


def machine():
    """Cores, model and kernel, and the two first as part of a file's name."""
    text = Path("/proc/cpuinfo").read_text()
    model = (re.search(r"model name\s*: (.*)", text) or re.search(r"^()", text)).group(1).strip() or platform.machine()
    cores = os.cpu_count()
    return f"{cores}-core-" + re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-"), f"{cores} cores of {model}, Linux {platform.release()}"


def versions(bed, target):
    """Returns the versions of the measured programs."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    coredns = subprocess.run([target / "peers/coredns", "-version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    packages = [name for name in ("nsd", "knot", "unbound", "dnsmasq-base", "dnsdist") if bed.installed(name.removesuffix("-base"))]
    debian = []
    if packages and shutil.which("dpkg-query"):
        told = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *packages], capture_output=True, text=True, check=False)
        debian = [told.stdout.rstrip(", ")]
    return ", ".join([f"Signpost {commit}", coredns, *debian])


def rounds(bed, asked, keep):
    """Measures; passes each round to `keep` when it is complete. Returns how many failed."""
    failed = 0
    chosen = [row for row in ROWS if row.name in asked.rows]
    for row in chosen:
        servers = [name for name in row.servers() if not asked.only or name in asked.only]
        servers = [name for name in servers if name != "before" or asked.before]
        for name in [name for name in servers if not bed.installed(name)]:
            print(f"{row.name}: skipped {name}, which is not installed", file=sys.stderr)
            servers.remove(name)
        for turn in range(asked.rounds):
            for name in servers:
                try:
                    report = bed.measure(row, name, asked.seconds)
                except Failed as why:
                    print(f"{row.name}: {why}", file=sys.stderr)
                    failed += 1
                    continue
                print(f"{row.name} {turn + 1}: {name} {report['answered_per_second']:,.0f} a second, {report['cpu_us']:.2f} µs of CPU a query",
                      file=sys.stderr)
                keep({**report, "row": row.name, "server": name, "load": os.getloadavg()[0]})
    return failed


def main():
    asked = arguments()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    signposts = {"before": asked.before, "signpost": asked.signpost or target / "release/signpost"}
    signposts = {name: program.resolve() for name, program in signposts.items() if program}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # some servers give up root
        bed = Bed(Path(folder), target, signposts, asked.server_cpu, asked.load_cpu)
        store = asked.results or Path(folder) / "results"
        try:
            with open(store, "a", encoding="utf-8") as file:
                failed = rounds(bed, asked, lambda result: print(json.dumps(result), file=file, flush=True))
        finally:
            bed.close()
        results = [json.loads(line) for line in store.read_text().splitlines()]
        name, about = machine()
        what = versions(bed, target)
    out = asked.out or ROOT / f"benches/runs/{time.strftime('%F')}-{name}-{asked.name}.md"
    out.write_text(f"""# Whole servers, {time.strftime('%F')}

{about}. Each server on one core, signpost-bench (20 clients, 192 queries outstanding, replies checked) on another; {asked.rounds} rounds of
{asked.seconds:g} s in turn; medians, lowest and highest in ( ). CPU is user and system time of the server's processes. Load average while measuring:
{min(r["load"] for r in results):.1f} to {max(r["load"] for r in results):.1f}. `just bench-peers`; how to read it: benches/README.md.

{what}.

{page(results)}""")
    print(out.read_text())
    print(f"{time.monotonic() - began:.0f} s, written to {out}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    # A terminated run cleans up after itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()

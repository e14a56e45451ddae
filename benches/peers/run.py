#!/usr/bin/env python3
"""The cost of an answer for whole servers: queries a second and CPU per query, for Signpost,
CoreDNS, a bare UDP loop (benches/echo.rs), which is the floor, and good servers of other kinds if
Debian has them.

    run.py                                          some rows, with one name and with many
    run.py --goals                                  each row that has a goal, beside the servers that goals name
    run.py --rows ptr,srv --names one,100,many --law uniform,zipf

All servers have the same names and addresses, those of benches/scale: 8,200 Services with an
address and 750 headless ones. How many of them are asked for is a matter of the row (--names), and
so is which is next (--law). Each server runs on one core and the load (signpost-bench: closed loop,
192 queries outstanding, every reply checked) on another, in turn; before it is loaded each question
is asked once, until all answers are right. Needs CoreDNS (tests/peers/build.sh) and release builds:
`just bench-peers`.
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
import rows
from rows import ROWS, SHORT
from table import page


def arguments():
    parser = argparse.ArgumentParser(prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goals", action="store_true", help="the table of goals: its rows, names, laws and servers; --rows and --only choose from it")
    parser.add_argument("--rows", metavar="NAME,...", help=f"all, or some of {', '.join(row.name for row in ROWS)}; {','.join(SHORT)}")
    parser.add_argument("--names", metavar="N,...", default="one,many", help="how many names: one, few, many (as the row has it) or a number; one,many")
    parser.add_argument("--law", metavar="LAW,...", default="uniform", help="uniform, zipf (s = 1), turn; uniform")
    parser.add_argument("--only", metavar="NAME,...", help="which servers: echo, echo-sized, coredns, signpost, signpost-bare, nsd, knot, unbound, "
                        "dnsmasq, dnsdist")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement; 1")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keeps the rounds as JSON lines; those that are there are part of the table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; benches/runs/DATE-MACHINE-peers.md, with the rows' names if they are chosen")
    parser.add_argument("--signpost", type=Path, metavar="PROGRAM", help="target/release/signpost")
    parser.add_argument("--before", type=Path, metavar="PROGRAM", help="another Signpost, to be measured beside")
    parser.add_argument("--server-cpu", default="0", metavar="N")
    parser.add_argument("--load-cpu", default="1", metavar="N")
    asked = parser.parse_args()
    asked.name = f"peers-{asked.rows.replace(',', '-')}" if asked.rows else "peers-goals" if asked.goals else "peers"
    every = [row.name for row in ROWS]
    wanted = every if asked.rows == "all" or asked.goals and not asked.rows else asked.rows.split(",") if asked.rows else SHORT
    for what, words, known in (("row", wanted, every), ("law", asked.law.split(","), ["uniform", "zipf", "turn"])):
        if unknown := set(words) - set(known):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if wrong := [word for word in asked.names.split(",") if word not in ("one", "few", "many") and not word.isdigit()]:
        parser.error(f"{wrong[0]!r} is no number of names; one, few, many or a number")
    asked.cells = [cell for cell in rows.goals() if cell.row.name in wanted] if asked.goals else \
        rows.chosen(wanted, asked.names.split(","), asked.law.split(","))
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
    failed, began, absent = 0, time.time(), set()
    for cell in asked.cells:
        servers = [name for name in cell.servers if (not asked.only or name in asked.only) and (name != "before" or asked.before)]
        absent.update(name for name in servers if not bed.installed(name))
        for turn in range(asked.rounds):
            for name in [name for name in servers if name not in absent]:
                try:
                    report = bed.measure(cell, name, asked.seconds)
                except Failed as why:
                    print(why, file=sys.stderr)
                    failed += 1
                    continue
                print(f"{cell.title}, {turn + 1}: {name} {report['answered_per_second']:,.0f} a second, {report['cpu_us']:.2f} µs of CPU a query",
                      file=sys.stderr)
                keep({**report, **cell.key, "server": name, "round": f"{began:.0f}-{turn}", "load": os.getloadavg()[0]})
    if absent:
        print(f"not installed, so not measured: {', '.join(sorted(absent))}", file=sys.stderr)
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
            bed.start()
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
{asked.seconds:g} s in turn; medians, lowest and highest in ( ). All servers have the names of 8,200 Services and 750 headless ones with 20
endpoints; the table says how many of them were asked for, and how they were drawn: each alike (uniform), or by Zipf's law (s = 1). CPU is
user and system time of the server's processes. Load average while measuring: {min(r["load"] for r in results):.1f} to {max(r["load"] for r in results):.1f}.
`just bench-peers {" ".join(sys.argv[1:])}`; how to read it: benches/README.md.

{what}.

{page(results)}""")
    print(out.read_text())
    print(f"{time.monotonic() - began:.0f} s, written to {out}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    # A terminated run cleans up after itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()

#!/usr/bin/env python3
"""e2e.py [--page FILE] NAME=REPORT...: Ginkgo's reports of the same specs with several servers, as
one table.

Prints the table, and the messages of failed specs. With --page the table also replaces the part of
FILE between the lines `<!-- e2e -->` and `<!-- end -->`. Exit status: how many specs failed with
the first server, 99 if none was run.
"""

import datetime
import json
import os
import subprocess
import sys


def specs(path):
    """Yields each spec that was run: its name, whether it passed, its seconds, and its message."""
    (suite,) = json.load(open(path))
    found = {}
    for report in suite["SpecReports"] or []:
        if report["State"] in ("skipped", "pending") and not report.get("Failure", {}).get("Message"):
            continue
        name = " ".join([*(report["ContainerHierarchyTexts"] or []), report["LeafNodeText"]]).strip()
        name = name or report["LeafNodeType"]
        # Hooks of the suite are told of only where they failed.
        if report["LeafNodeType"] != "It" and report["State"] == "passed":
            continue
        found[name] = (report["State"], report["RunTime"] / 1e9, report.get("Failure", {}).get("Message", ""))
    return found


def put_into(page, table):
    """Replaces this recipe's part of the page."""
    here = os.path.dirname(os.path.abspath(__file__))
    commit = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    head = f"{datetime.date.today()}, {os.cpu_count()} cores of {cpu}, Signpost {commit}: `just e2e`.\n\n"
    text = open(page).read()
    before, rest = text.split("<!-- e2e -->\n", 1)
    _, after = rest.split("<!-- end -->\n", 1)
    open(page, "w").write(f"{before}<!-- e2e -->\n{head}{table}<!-- end -->\n{after}")


def main():
    arguments = sys.argv[1:]
    page = None
    if arguments[:1] == ["--page"]:
        page, arguments = arguments[1], arguments[2:]
    servers = [argument.split("=", 1) for argument in arguments]
    found = [(name, specs(path)) for name, path in servers]
    names = list(dict.fromkeys(spec for _, of in found for spec in of))
    lines = ["| spec | " + " | ".join(name for name, _ in found) + " |", "|---" * (1 + len(found)) + "|"]
    for name in names:
        cells = [f"{state}, {seconds:.0f} s" for state, seconds, _ in (of.get(name, ("not run", 0, "")) for _, of in found)]
        lines.append(f"| {name.replace('|', '/')} | " + " | ".join(cells) + " |")
    passed = [sum(state == "passed" for state, _, _ in of.values()) for _, of in found]
    ran = [sum(state != "skipped" for state, _, _ in of.values()) for _, of in found]
    lines.append("| **passed** | " + " | ".join(f"**{good} of {all}**" for good, all in zip(passed, ran)) + " |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if page:
        put_into(page, text)
    for server, of in found:
        for name, (state, _, message) in of.items():
            if state != "passed":
                print(f"{server}: {name}: {state}: {' '.join(message.split())[:600]}", file=sys.stderr)
    sys.exit(99 if not ran[0] else min(ran[0] - passed[0], 98))


main()

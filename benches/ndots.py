#!/usr/bin/env python3
"""The look-ups of ndots.sh, inside its namespace: ndots.py FOLDER CLIENT ROUNDS SIGNPOST-BENCH
COREFILE.

Starts each server, runs the programs of FOLDER (glibc, musl, go) against it, and prints tables.
Packets are counted by the server's own metrics, and by the upstream in this program. The first
look-up of a name is counted, later ones are timed.
"""
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from ports import free_port

FOLDER, CLIENT, ROUNDS, BENCH, COREFILE = sys.argv[1:6]
POD = ["paths.svc.cluster.local", "svc.cluster.local", "cluster.local"]
RESOLVERS = ["glibc", "musl", "go"]
SERVERS = [("Signpost", False), ("CoreDNS", False), ("Signpost", True), ("CoreDNS", True)]
# (label in the table, the name, the full name that has addresses); @ is a label that no earlier
# look-up used.
NAMES = [
    ("`echo`: a Service of the own namespace", "echo", "echo.paths.svc.cluster.local"),
    ("`web.apps`: of another one", "web.apps", "web.apps.svc.cluster.local"),
    ("`web.apps.svc`", "web.apps.svc", "web.apps.svc.cluster.local"),
    ("`web.apps.svc.cluster.local`", "web.apps.svc.cluster.local", "web.apps.svc.cluster.local"),
    ("`web.apps.svc.cluster.local.`", "web.apps.svc.cluster.local.", "web.apps.svc.cluster.local"),
    ("`none.apps`: does not exist", "@.apps", None),
    ("outside, no dot", "host-@", "host-@"),
    ("outside, 1 dot", "@.found", "@.found"),
    ("outside, 2 dots", "@.b.found", "@.b.found"),
    ("outside, 3 dots", "@.c.b.found", "@.c.b.found"),
    ("outside, 4 dots", "@.d.c.b.found", "@.d.c.b.found"),
    ("outside, 5 dots", "@.e.d.c.b.found", "@.e.d.c.b.found"),
    ("outside, 2 dots and one at the end", "@.b.found.", "@.b.found"),
    ("outside, 2 dots, does not exist", "@.b.none", None),
]
VARIANTS = [
    ("a Pod's 3 search domains", [], ""),
    ("4 search domains: a Pod's, and one of the node's", ["node.example"], ""),
    ("3 search domains, `single-request`", [], " single-request"),
]


class Upstream(threading.Thread):
    """Answers for `host-*.` and names that end in `.found.`, and counts queries."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port, self.count = self.socket.getsockname()[1], 0

    def run(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            query = dns.message.from_wire(packet)
            name, kind = query.question[0].name, query.question[0].rdtype
            reply = dns.message.make_response(query, recursion_available=True)
            text = str(name).lower()
            if re.fullmatch(r"host-[^.]+\.|.*\.found\.", text):
                data = {1: "192.0.2.80", 28: "2001:db8::80"}.get(kind)
                if data:
                    reply.answer.append(dns.rrset.from_text(name, 300, "IN", kind, data))
            else:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                reply.authority.append(dns.rrset.from_text(".", 300, "IN", "SOA", "a. b. 1 7200 1800 86400 300"))
            # The probes of a forwarding server are not its clients' questions.
            if kind in (1, 28):
                self.count += 1
            self.socket.sendto(reply.to_wire(), peer)


def resolv_conf(search, options, server=CLIENT):
    with open(os.path.join(FOLDER, "resolv.conf"), "w") as file:
        print(f"nameserver {server}\nsearch {' '.join(search)}\noptions ndots:5{options}" if search else f"nameserver {server}", file=file)


class Server:
    """A server on port 53 of the client's own address."""

    def __init__(self, name, autopath, upstream):
        self.metrics = free_port()
        values = {
            "DNS_PORT": "53", "HEALTH_PORT": str(free_port()), "READY_PORT": str(free_port()), "METRICS_PORT": str(self.metrics),
            "KUBE_API": os.environ["KUBE_API"], "UPSTREAM": f"127.0.0.1:{upstream.port}",
            "KUBE_TLS": f"tls {os.environ['KUBE_CERT']} {os.environ['KUBE_KEY']} {os.environ['KUBE_CA']}",
        }
        text = re.sub(r"\{\$(\w+)\}", lambda match: values[match[1]], open(COREFILE).read())
        text = text.replace("bind 127.0.0.1", f"bind {CLIENT}").replace("pods insecure", "pods verified")
        assert f"bind {CLIENT}" in text and "pods verified" in text, text
        if autopath:
            text = text.replace("    errors\n", "    errors\n    autopath @kubernetes\n", 1)
            assert "autopath" in text
        path = os.path.join(FOLDER, "Corefile")
        with open(path, "w") as file:
            file.write(text)
        program = os.environ["SIGNPOST"] if name == "Signpost" else os.path.join(os.environ["PEERS"], "coredns")
        self.log = open(os.path.join(FOLDER, "log"), "wb")
        self.process = subprocess.Popen([program, "-conf", path], stdout=self.log, stderr=self.log)
        self.wait()

    def wait(self):
        """Waits until the fixture's last Service is served."""
        query = dns.message.make_query("echo.paths.svc.cluster.local", "A").to_wire()
        for _ in range(200):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(0.1)
                try:
                    s.connect((CLIENT, 53))
                    s.send(query)
                    if dns.message.from_wire(s.recv(4096)).answer:
                        time.sleep(0.5)
                        return
                except OSError:
                    time.sleep(0.1)
        sys.exit("the server does not answer:\n" + open(os.path.join(FOLDER, "log")).read())

    def requests(self):
        """Returns the counted queries; the last ones may be counted after they are answered."""
        last, now = None, self.counted()
        while now != last:
            time.sleep(0.005)
            last, now = now, self.counted()
        return now

    def counted(self):
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).read().decode()
        lines = re.findall(r"^coredns_dns_requests_total\{(.*)\} (\S+)$", page, re.M)
        return int(sum(float(value) for labels, value in lines if re.search(r'type="(A|AAAA)"', labels)))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def look_up(resolver, name):
    """Returns the milliseconds and the program's result."""
    out = subprocess.run([os.path.join(FOLDER, resolver), name], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    words = out.stdout.split()
    return float(words[1].removesuffix("ms")), sorted(words[2:]) if out.returncode == 0 else None


def model(resolver, name, search, exists):
    """Returns the queries that `signpost-bench ndots` predicts."""
    full = exists or "nothing.invalid"
    arguments = [BENCH, "ndots", name, "--resolver", resolver, "--search", ",".join(search), "--exists", full]
    return int(re.search(r": (\d+) queries", subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout)[1])


class Count:
    """Unused labels."""

    number = 0

    @classmethod
    def label(cls):
        cls.number += 1
        return f"n{cls.number}"


def measure(server, upstream, resolver, name, exists):
    label = Count.label()
    name = name.replace("@", label)
    before, sent = server.requests(), upstream.count
    _, seen = look_up(resolver, name)
    packets, leaked = server.requests() - before, upstream.count - sent
    times = [look_up(resolver, name)[0] for _ in range(int(ROUNDS))]
    if (seen is not None) != (exists is not None):
        print(f"{resolver} {name}: {seen}", file=sys.stderr)
    return packets, leaked, statistics.median(times), seen


def table(resolver, results, search, title):
    print(f"\n## {resolver}, {title}\n")
    heads = [f"{name}{', autopath' if autopath else ''}" for name, autopath in SERVERS]
    print("| name | model | " + " | ".join(heads) + " | the program saw |")
    print("|---|---|" + "---|" * (len(heads) + 1))
    for shown, name, exists in NAMES:
        cells, seen = [], []
        for server in SERVERS:
            packets, leaked, milliseconds, saw = results[server][resolver, shown]
            cells.append(f"{packets}, {leaked}, {milliseconds:.1f} ms")
            seen.append("nothing" if saw is None else "its address" if exists else "something")
        saw = seen[0] if len(set(seen)) == 1 else ", ".join(seen)
        print(f"| {shown} | {model(resolver, name.replace('@', 'x'), search, exists and exists.replace('@', 'x'))} | " + " | ".join(cells) + f" | {saw} |")


def main():
    upstream = Upstream()
    upstream.start()
    for title, node, options in VARIANTS:
        search, results = POD + node, {}
        resolvers = [resolver for resolver in RESOLVERS if not options or resolver != "musl"]
        for key in SERVERS:
            # The server reads the node's resolv.conf at its start, the programs read a Pod's.
            resolv_conf(node, "", "192.0.2.1")
            server = Server(*key, upstream)
            resolv_conf(search, options)
            try:
                results[key] = {
                    (resolver, shown): measure(server, upstream, resolver, name, exists)
                    for resolver in resolvers for shown, name, exists in NAMES
                }
            finally:
                server.stop()
            print(f"{title}: {key} is done", file=sys.stderr)
        for resolver in resolvers:
            table(resolver, results, search, title)


main()

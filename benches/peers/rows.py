"""What is measured: each row is a set of questions, a Corefile, a way to load, and the servers that
it applies to."""
from dataclasses import dataclass
from typing import Optional

SERVICE, SERVICE_ADDRESS = "web.bench.svc.cluster.local", "10.96.77.20"
HEADLESS, ENDPOINTS = "db.bench.svc.cluster.local", 20
SRV = "_sql._tcp." + HEADLESS
PTR = "20.77.96.10.in-addr.arpa"
EXTERNAL, MISSING = "www.example.com", "missing.example.com"
# What a pod in the namespace `bench` appends to a name of fewer than five dots; the last one is the
# network's.
SEARCH = ("bench.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.net")


def hostnames():
    """Hostname and address of each endpoint. All names have one length, so that every order is cut
    at the same place."""
    return [(f"db-{n + 10}", f"10.244.7.{n + 10}") for n in range(ENDPOINTS)]


def ndots():
    """Returns a resolver's queries for an external name with `ndots:5`: each search domain, then
    the name; A and AAAA."""
    for kind in ("A", "AAAA"):
        yield from (f"{EXTERNAL}.{domain} {kind} NXDOMAIN 0" for domain in SEARCH)
    yield from (f"{EXTERNAL} {kind} NOERROR 1" for kind in ("A", "AAAA"))


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    questions: tuple
    peers: tuple = ()  # besides the floor, CoreDNS and Signpost
    corefile: str = "kubeadm"
    transport: str = "udp"
    rate: Optional[int] = None  # queries a second, open loop; else 192 are kept on their way
    records: int = 1  # of each answer; with more than one, the floor has as many
    cores: int = 1  # of the server; with more than one the load shares them
    goal: Optional[float] = None  # Signpost's CPU divided by the floor's, at most
    goal_coredns: Optional[float] = None  # CoreDNS's CPU divided by Signpost's, at least

    def servers(self):
        sized = ("echo-sized",) if self.records > 1 else ()
        return ("echo", *sized, "coredns", *self.peers, "before", "signpost")


AUTHORITATIVE = ("nsd", "knot", "unbound", "dnsmasq")
RESOLVERS = ("unbound", "dnsmasq", "dnsdist")
SERVICE_A = (f"{SERVICE} A NOERROR 1",)

ROWS = (
    Row("service", "Service A", SERVICE_A, AUTHORITATIVE, goal=1.10, goal_coredns=7.3),
    Row("service-cache", "Service A, plain `cache 30`", SERVICE_A, corefile="cache", goal=1.10, goal_coredns=3.7),
    Row("service-any", "Service A, listening on all addresses", SERVICE_A, corefile="any"),
    Row("headless", "headless, 20 addresses", (f"{HEADLESS} A NOERROR {ENDPOINTS}",), AUTHORITATIVE, records=ENDPOINTS, goal=1.2),
    Row("srv", "SRV, 20 targets", (f"{SRV} SRV NOERROR",), ("nsd", "knot", "unbound"), goal=1.4),
    Row("ptr", "PTR of a Service", (f"{PTR} PTR NOERROR 1",), AUTHORITATIVE, goal=1.1),
    Row("external", "external name, cached", (f"{EXTERNAL} A NOERROR 1",), RESOLVERS, goal=1.12),
    Row("nxdomain", "NXDOMAIN in the cluster", (f"{EXTERNAL}.{SEARCH[0]} A NXDOMAIN 0",), ("nsd", "knot", "unbound"), goal=1.12),
    Row("nxdomain-external", "NXDOMAIN outside, cached", (f"{MISSING} A NXDOMAIN 0",), RESOLVERS, goal=1.12),
    Row("ndots", "ndots:5 mix", tuple(ndots()), ("unbound",), goal=1.12),
    Row("forward", "forwarded, uncached, `forward` alone", ("n{n}.example.org A NOERROR 1",), RESOLVERS, corefile="forward", goal=2.4),
    Row("forward-chain", "forwarded, uncached, whole chain", ("n{n}.example.org A NOERROR 1",)),
    Row("tcp", "TCP, 20 connections, pipelined", SERVICE_A, ("unbound",), corefile="cache", transport="tcp", goal_coredns=3),
    Row("dot", "DoT, 20 connections, pipelined", SERVICE_A, ("unbound",), corefile="tls", transport="tls", goal_coredns=3),
    Row("log", "Service A with `log`", SERVICE_A, corefile="log"),
    Row("latency", "Service A, 10,000 a second", SERVICE_A, ("nsd",), rate=10_000),
    Row("cores", "Service A, two cores, shared with the load", SERVICE_A, cores=2),
)

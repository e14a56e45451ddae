"""What is measured: each row is a kind of question, a Corefile, a way to load, and the servers that
it applies to. A cell is a row with a number of names and the law by which they are drawn."""
from dataclasses import dataclass
from typing import Optional

from names import ENDPOINTS


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    kind: str  # of the questions: names.KINDS
    peers: tuple = ()  # besides the floor, CoreDNS and Signpost
    beside: tuple = ()  # those of them that a goal names, or that are good at it
    few: int = 900  # names, when it is neither one nor as many as there are
    many: int = 8200
    corefile: str = "kubeadm"
    bare: bool = False  # also Signpost with no more than `errors` and `kubernetes`
    transport: str = "udp"
    rate: Optional[int] = None  # queries a second, open loop; else 192 are kept on their way
    changes: int = 0  # of EndpointSlices a second, if it asks for more than one name
    records: int = 1  # of each answer; with more than one, the floor has as many
    cores: int = 1  # of the server; with more than one the load shares them
    must: bool = False  # part of the table of goals
    laws: tuple = ("uniform",)  # in that table
    goal: Optional[float] = None  # Signpost's CPU divided by the floor's, at most, with one name
    goal_many: Optional[float] = None  # the same with many
    below: tuple = ()  # and at most as much as these, with many
    below_always: tuple = ()  # and less than these in every round
    goal_coredns: Optional[float] = None  # CoreDNS's CPU divided by Signpost's, at least, with one name


AUTHORITATIVE = ("nsd", "knot", "unbound", "dnsmasq")
RESOLVERS = ("unbound", "dnsmasq", "dnsdist")
BOTH = ("uniform", "zipf")
CACHED = {"few": 500, "many": 9000}
CROWDS = {"few": 100, "many": 750}

ROWS = (
    Row("service", "Service A", "service", AUTHORITATIVE, ("nsd", "knot"), bare=True, must=True, laws=BOTH, goal=1.10, goal_many=1.10,
        below=("nsd", "knot"), goal_coredns=7.3),
    Row("nxdomain", "NXDOMAIN in the cluster", "nxdomain", ("nsd", "knot", "unbound"), ("nsd", "knot"), must=True, laws=BOTH, goal=1.12,
        goal_many=1.10, below=("nsd", "knot")),
    # dnsmasq looks at all addresses one after the other: it does not answer with 8,200 of them.
    Row("ptr", "PTR of a Service", "ptr", ("nsd", "knot", "unbound"), ("nsd", "knot"), must=True, laws=BOTH, goal=1.1, goal_many=1.15, below=("nsd",)),
    Row("headless", f"headless, {ENDPOINTS} addresses", "headless", AUTHORITATIVE, ("nsd", "knot"), **CROWDS, records=ENDPOINTS, must=True,
        goal=1.2, goal_many=1.2),
    Row("srv", f"SRV, {ENDPOINTS} targets", "srv", ("nsd", "knot", "unbound"), ("nsd", "knot"), **CROWDS, must=True, goal=1.4, goal_many=1.35),
    Row("external", "external name, cached", "external", RESOLVERS, ("unbound",), **CACHED, must=True, goal=1.12, goal_many=1.10),
    Row("nxdomain-external", "NXDOMAIN outside, cached", "missing", RESOLVERS, ("unbound",), **CACHED, must=True, goal=1.12, goal_many=1.10),
    Row("ndots", "ndots:5 mix", "ndots", ("unbound",), ("unbound",), few=200, many=2000, must=True, goal=1.12, goal_many=1.12),
    Row("forward-chain", "forwarded, uncached, whole chain", "new", ("dnsdist",), ("dnsdist",), many=900, must=True, goal_many=2.4,
        below_always=("dnsdist",)),
    Row("forward", "forwarded, uncached, `forward` alone", "new", RESOLVERS, ("dnsdist",), many=900, corefile="forward", must=True, goal=2.4),
    Row("latency", "Service A, 10,000 a second", "service", ("nsd",), rate=10_000, changes=100, must=True),
    Row("service-cache", "Service A, plain `cache 30`", "service", corefile="cache", goal=1.10, goal_coredns=3.7),
    Row("service-any", "Service A, listening on all addresses", "service", corefile="any"),
    Row("tcp", "TCP, 20 connections, pipelined", "service", ("unbound",), corefile="cache", transport="tcp", goal_coredns=3),
    Row("dot", "DoT, 20 connections, pipelined", "service", ("unbound",), corefile="tls", transport="tls", goal_coredns=3),
    Row("log", "Service A with `log`", "service", corefile="log"),
    Row("cores", "Service A, two cores, shared with the load", "service", cores=2),
)

# What is measured unless the command line says otherwise.
SHORT = ("service", "nxdomain", "ptr", "headless", "external")


@dataclass(frozen=True)
class Cell:
    row: Row
    names: int
    law: str  # of `signpost-bench load`
    servers: tuple

    @property
    def key(self):
        """What a result says it is about."""
        return {"row": self.row.name, "names": self.names, "law": self.law}

    @property
    def title(self):
        return f"{self.row.name}, {asked(self.names, self.law)}"


def asked(names, law):
    """Formats how many names are asked, and by which law."""
    return "1 name" if names == 1 else f"{names:,} names, {law}"


def count(row, word):
    """Returns a number of names: `one`, `few`, `many`, or a number, which stops at `many`."""
    named = {"one": 1, "few": row.few, "many": row.many}
    return named[word] if word in named else max(1, min(int(word), row.many))


def cell(row, names, law, peers, coredns=True):
    sized = ("echo-sized",) if row.records > 1 else ()
    bare = ("signpost-bare",) if row.bare and names > 1 else ()
    return Cell(row, names, law if names > 1 else "turn", ("echo", *sized, *(("coredns",) if coredns else ()), *peers, "before", "signpost", *bare))


def chosen(rows, words, laws):
    """Returns the cells of these rows, numbers of names and laws, each once."""
    every = (cell(row, count(row, word), law, row.peers) for row in ROWS if row.name in rows for word in words for law in laws)
    return list(dict.fromkeys(every))


def goals():
    """Returns the cells of the table of goals: few and many names beside the servers that goals
    name, and one name beside the floor."""
    rows = [row for row in ROWS if row.must]
    many = (cell(row, count(row, word), law, row.beside, coredns=False) for row in rows for word in ("few", "many") for law in row.laws
            if not (row.rate and word == "few"))
    one = (cell(row, 1, "turn", (), coredns=False) for row in rows if row.goal)
    return list(dict.fromkeys((*many, *one)))

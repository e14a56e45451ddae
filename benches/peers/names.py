"""The questions of each kind, with their right answers, made of the records of the cluster that
benches/scale serves."""
import random
import re

ENDPOINTS = 20
# What a pod in the namespace `team-000` appends to a name of fewer than five dots; the last one is
# the network's.
SEARCH = ("team-000.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.net")

# The name of a Service, and of nothing in it.
SERVICE = re.compile(r"[^_.][^.]*\.[^.]+\.svc\.cluster\.local\.?")


class Names:
    """The names of the cluster; `records` are its lines, as a zone file has them."""

    def __init__(self, records):
        lines = [line.split(maxsplit=4) for line in records.splitlines()]
        self.records = [(name.rstrip("."), kind, data) for name, _, _, kind, data in lines]
        pointers = [(data.rstrip("."), name) for name, kind, data in self.records if kind == "PTR" and SERVICE.fullmatch(data)]
        addresses = dict.fromkeys(name for name, kind, _ in self.records if kind == "A" and SERVICE.fullmatch(name))
        crowds = [name for name in addresses if name not in dict(pointers)]
        # Names that are asked for often must not be neighbours in anybody's memory.
        random.Random(1).shuffle(pointers)
        random.Random(1).shuffle(crowds)
        self.services, self.pointers, self.crowds = [name for name, _ in pointers], [name for _, name in pointers], crowds

    def questions(self, kind, count):
        """Returns the questions for so many names, as `signpost-bench load` reads them."""
        lines = [line for n in range(count) for line in KINDS[kind](self, n)]
        # The questions of one look-up are not neighbours either.
        return random.Random(1).sample(lines, len(lines)) if kind == "ndots" else lines


def outside(n):
    return f"www{n:04}.example.com"


def denied(names, n):
    namespace = names.services[n].split(".", 1)[1]
    return [f"{outside(n)}.{namespace} A NXDOMAIN 0"]


def ndots(_, n):
    """Returns a resolver's queries for an external name with `ndots:5`: each search domain, then
    the name; A and AAAA."""
    for kind in ("A", "AAAA"):
        yield from (f"{outside(n)}.{domain} {kind} NXDOMAIN 0" for domain in SEARCH)
        yield f"{outside(n)} {kind} NOERROR 1"


KINDS = {
    "service": lambda names, n: [f"{names.services[n]} A NOERROR 1"],
    "nxdomain": denied,
    "ptr": lambda names, n: [f"{names.pointers[n]} PTR NOERROR 1"],
    "headless": lambda names, n: [f"{names.crowds[n]} A NOERROR {ENDPOINTS}"],
    "srv": lambda names, n: [f"_http._tcp.{names.crowds[n]} SRV NOERROR {ENDPOINTS}"],
    "external": lambda _, n: [f"{outside(n)} A NOERROR 1"],
    "missing": lambda _, n: [f"missing{n:04}.example.com A NXDOMAIN 0"],
    "ndots": ndots,
    # `{n}` is a number that is new each time, so that no answer is in a cache.
    "new": lambda _, n: [f"n{{n}}.www{n:04}.example.org A NOERROR 1"],
}

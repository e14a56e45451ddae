#!/usr/bin/env python3
"""A DNS server while the cluster changes and while its API server is away.

  live.py --server CMD [ARG...] [--rounds N] [--outage S] [--short S] [--restarts K] [--json OUT]

The API server and the fixture are already up (run.sh --live does everything); STATE is the
directory of tools/cluster.sh, KUBE_API, KUBE_CA, KUBE_CERT and KUBE_KEY are the values that it
printed.  Three parts:

  changes    Services, EndpointSlices, pods and namespaces are made, changed and deleted; the time counts from the API
             server's acknowledgement of the write until the answer over UDP shows it.
  outage     The API server is killed (SIGKILL).  All kinds of names are asked meanwhile: no answer may change, and
             /ready stays 200.  This goes on until the end.
  restarts   The API server comes back and four things change at once, one for each kind of watch; the time counts from its
             first good /readyz until the answers show them.  Then it is killed again, for a shorter while.

Exit status: 1 if a limit was passed (--change-limit, --back-limit) or an answer changed; a missed
goal is only reported, unless --strict.  Needs dnspython and PyYAML.
"""
import argparse
import http.client
import json
import os
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "tools"))

import dns.message  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rdatatype  # noqa: E402
import dns.reversename  # noqa: E402

import dnscase  # noqa: E402
import load  # noqa: E402

GOAL_CHANGE_MS = 100
GOAL_BACK_S = 3
ZONE = "cluster.local."
LARGE = 4000  # octets: longer replies cost this program more than the server
PASS_S = 2  # seconds that one pass over the steady questions takes at least


# ---- what the answers show
# ---------------------------------------------------------------------------------------------

def look(port, name, rdtype):
    """(rcode, {(type, rdata)} of the answer section) of one question, or None."""
    reply = dnscase.over_udp(dns.message.make_query(name, rdtype).to_wire(), port, None, 1)
    if not reply:
        return None
    m = dns.message.from_wire(reply)
    return dns.rcode.to_text(m.rcode()), {(dns.rdatatype.to_text(rr.rdtype), rd.to_text()) for rr in m.answer for rd in rr}


def has(name, rdtype, *rdata):
    """A condition: exactly these records of the type are in the answer (none: the name may be
    missing)."""
    def holds(port):
        found = look(port, name, rdtype)
        return found is not None and {r for t, r in found[1] if t == rdtype} == set(rdata)
    holds.what = f"{name} {rdtype} = {' '.join(rdata) or 'nothing'}"
    return holds


def missing(name, rdtype="A"):
    """A condition: the name does not exist."""
    def holds(port):
        found = look(port, name, rdtype)
        return found is not None and found[0] == "NXDOMAIN"
    holds.what = f"{name} does not exist"
    return holds


def starts_with(name, rdtype, rdata):
    """A condition: such a record is in the answer, among others (a CNAME with the records of its
    target)."""
    def holds(port):
        found = look(port, name, "A")
        return found is not None and (rdtype, rdata) in found[1]
    holds.what = f"{name} {rdtype} {rdata}"
    return holds


def seconds_until(port, conditions, since, limit):
    """Returns the seconds from `since` until each condition held once, and the conditions that
    never did."""
    left, last = list(conditions), 0.0
    while left and time.monotonic() - since < limit:
        if left[0](port):
            last = time.monotonic() - since
            left.pop(0)
        else:
            time.sleep(0.0005)
    return last, [c.what for c in left]


# ---- writing to the API
# ------------------------------------------------------------------------------------------------

def service(ns, name, **spec):
    ports = [] if spec.get("type") == "ExternalName" else [{"name": "http", "port": 80}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns}, "spec": {"ports": ports, **spec}}


def endpoint_slice(ns, name, of, endpoints):
    """`endpoints`: address -> (hostname or None, ready)"""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": ns, "labels": {"kubernetes.io/service-name": of}},
            "endpoints": [{"addresses": [a], "conditions": {"ready": ready}, **({"hostname": host} if host else {})}
                          for a, (host, ready) in endpoints.items()],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}


def pod(ns, name):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns},
            "spec": {"containers": [{"name": "c", "image": "none.example/none:1"}]}}


class Writer:
    """Writes to the API server; every call returns the object and records when it was
    acknowledged."""

    def __init__(self, args):
        self.api, self.acknowledged = load.Api(args.api, args.ca, None, args.cert, args.key), 0.0

    def call(self, method, path, body=None, may_fail=()):
        code, answer = self.api.call(method, path, body)
        self.acknowledged = time.monotonic()
        if code >= 400 and code not in may_fail:
            raise SystemExit(f"{method} {path}: {code} {answer.get('message')}")
        return answer

    def create(self, o):
        return self.call("POST", load.path_of(o), o)

    def change(self, o, patch, part=""):
        return self.call("PATCH", f"{load.path_of(o)}/{o['metadata']['name']}{part}", patch)

    def delete(self, o):
        # No kubelet confirms the end of a pod: without a grace period no confirmation is needed.
        return self.call("DELETE", f"{load.path_of(o)}/{o['metadata']['name']}", {"gracePeriodSeconds": 0}, may_fail=(404,))

    def namespace(self, name):
        return self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, may_fail=(409,))

    def finish_namespace(self, name):
        """Deletes a namespace; there is no controller to empty it first."""
        self.call("DELETE", f"/api/v1/namespaces/{name}")
        self.call("PUT", f"/api/v1/namespaces/{name}/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}})


def address_name(address, ns):
    return f"{address.replace('.', '-')}.{ns}.pod.{ZONE}"


def changes(w, ns, i):
    """One round of writes: yields (what, conditions) after each."""
    def name(of):
        return f"{of}-{i}.{ns}.svc.{ZONE}"

    web = service(ns, f"web-{i}")
    ip = w.create(web)["spec"]["clusterIP"]
    pointer = dns.reversename.from_address(ip).to_text()
    yield "ClusterIP service created", [has(name("web"), "A", ip), has(f"_http._tcp.{name('web')}", "SRV", f"0 100 80 {name('web')}"), has(pointer, "PTR", name("web"))]
    w.change(web, {"spec": {"ports": [{"name": "rpc", "port": 81}]}})
    yield "its port changed", [has(f"_rpc._tcp.{name('web')}", "SRV", f"0 100 81 {name('web')}"), missing(f"_http._tcp.{name('web')}", "SRV")]
    w.delete(web)
    yield "ClusterIP service deleted", [missing(name("web")), missing(pointer, "PTR")]

    out = service(ns, f"out-{i}", type="ExternalName", externalName=f"a{i}.example.org")
    w.create(out)
    yield "ExternalName created", [starts_with(name("out"), "CNAME", f"a{i}.example.org.")]
    w.change(out, {"spec": {"externalName": f"b{i}.example.org"}})
    yield "ExternalName changed", [starts_with(name("out"), "CNAME", f"b{i}.example.org.")]
    w.delete(out)
    yield "ExternalName deleted", [missing(name("out"))]

    db, (a, b, c) = service(ns, f"db-{i}", clusterIP="None"), [f"10.249.{i % 250}.{n}" for n in (1, 2, 3)]
    w.create(db)
    some = endpoint_slice(ns, f"db-{i}-x", f"db-{i}", {a: ("db-0", True), b: (None, True)})
    w.create(some)
    yield "headless: slice created", [has(name("db"), "A", a, b), has(f"db-0.{name('db')}", "A", a), has(dns.reversename.from_address(a).to_text(), "PTR", f"db-0.{name('db')}")]
    w.change(some, {"endpoints": endpoint_slice(ns, "", "", {a: ("db-0", False), b: (None, True), c: ("db-2", True)})["endpoints"]})
    yield "headless: one not ready, one new", [has(name("db"), "A", b, c), has(f"db-2.{name('db')}", "A", c), missing(f"db-0.{name('db')}")]
    w.delete(some)
    yield "headless: slice deleted", [has(name("db"), "A"), missing(f"db-2.{name('db')}")]
    w.delete(db)

    runner = pod(ns, f"runner-{i}")
    w.create(runner)
    w.change(runner, {"status": {"phase": "Running", "podIP": a, "podIPs": [{"ip": a}]}}, "/status")
    yield "pod has an address", [has(address_name(a, ns), "A", a)]
    w.change(runner, {"status": {"podIP": b, "podIPs": [{"ip": b}]}}, "/status")
    yield "pod has another address", [has(address_name(b, ns), "A", b), missing(address_name(a, ns))]
    w.delete(runner)
    yield "pod deleted", [missing(address_name(b, ns))]

    fresh = f"{ns}-{i}-{os.getpid()}"
    w.namespace(fresh)
    first = service(fresh, "first", clusterIP="None")
    w.create(first)
    w.create(endpoint_slice(fresh, "first-x", "first", {c: (None, True)}))
    yield "service in a new namespace", [has(f"first.{fresh}.svc.{ZONE}", "A", c)]
    w.finish_namespace(fresh)
    yield "namespace gone", [missing(f"first.{fresh}.svc.{ZONE}")]
    w.api.call("DELETE", f"{load.path_of(first)}/first")


# ---- an API server that goes and comes back
# ------------------------------------------------------------------------------

class Asker(threading.Thread):
    """Asks the same questions and /ready again and again, and keeps answers that differ from the
    first ones."""

    def __init__(self, port, ready_port, questions):
        super().__init__(daemon=True)
        self.port, self.ready_port, self.ended = port, ready_port, threading.Event()
        self.asked, self.ready_asked, self.wrong = 0, 0, []
        self.questions = []  # (question, message, answer, wires already known to be that answer)
        for q in questions:
            query = dnscase.query_of(q)
            first, again = (self.view(query, self.ask(q, query.to_wire())) for _ in range(2))
            if first == again and "rcode" in first and "counts" not in first and first["size"] < LARGE:
                self.questions.append((q, query, first, set()))

    def ask(self, q, wire):
        if q.get("tcp"):
            return next(iter(dnscase.over_tcp(wire, self.port, None, dnscase.NO_REPLY_S, lambda _: True)), None)
        return dnscase.over_udp(wire, self.port, None, dnscase.NO_REPLY_S) or dnscase.over_udp(wire, self.port, None, dnscase.NO_REPLY_S)

    @staticmethod
    def view(query, reply):
        return dnscase.view([reply], query) if reply else dnscase.NO_REPLY

    def ready(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.ready_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status
        except OSError as e:
            return str(e)
        finally:
            connection.close()

    def run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            for n, (q, query, first, known) in enumerate(self.questions):
                if self.ended.is_set():
                    return
                reply = self.ask(q, query.to_wire())
                self.asked += 1
                if reply not in known:  # most are: only new ones are worth the reading
                    got = self.view(query, reply)
                    fields = dnscase.differences(first, got)
                    for field in fields:
                        self.wrong.append(f"{q['name']} {q['type']}: {field} was {first.get(field)}, is {got.get(field)}"[:300])
                    if not fields and len(known) < 1000:
                        known.add(reply)
                if n % 100 == 0:
                    self.ready_asked += 1
                    if (status := self.ready()) != 200:
                        self.wrong.append(f"/ready: {status}")
            self.ended.wait(max(0.0, began + PASS_S - time.monotonic()))


def steady_questions():
    """Returns questions of the suite, one for each name and type, with the same answer each time if
    there is no cache."""
    chosen = {}
    args = argparse.Namespace(questions=os.path.join(dnscase.SUITE, "questions"), family=[], not_family=["transfer", "autopath"], only=None)
    recorded = dnscase.load_answers(os.path.join(dnscase.SUITE, "answers"))
    for q in dnscase.load_questions(args):
        if recorded[q["id"]] == dnscase.NO_REPLY:
            continue
        if q["corefile"] in ("plain", "insecure", "verified", "stubdomain", "customzone") and not q.get("client") and q["type"] not in ("AXFR", "IXFR"):
            chosen.setdefault((q["name"], q["type"], q.get("class"), bool(q.get("edns")), q.get("tcp")), q)
    return list(chosen.values())


def wait_for_api(args, limit):
    """Waits for the first good /readyz; returns its time."""
    u = urllib.parse.urlsplit(args.api)
    context = ssl.create_default_context(cafile=args.ca)
    context.load_cert_chain(args.cert, args.key)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        connection = http.client.HTTPSConnection(u.hostname, u.port, timeout=2, context=context)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.monotonic()
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise SystemExit(f"the API server is not ready {limit} s after its start")


def cluster(*what, wait=True):
    command = [os.path.join(HERE, "tools", "cluster.sh"), *what]
    if wait:
        return subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def restart(args, w_before, port, ns, k, outage):
    """Kills the API server, starts it after `outage` seconds, changes things; returns {what:
    seconds after readyz}."""
    goes = service(ns, f"goes-{k}")
    w_before.create(goes)
    seconds_until(port, [has(f"goes-{k}.{ns}.svc.{ZONE}", "A", w_before.call("GET", f"{load.path_of(goes)}/goes-{k}")["spec"]["clusterIP"])], time.monotonic(), 5)
    cluster("kill")
    began = time.monotonic()
    time.sleep(outage)
    starting = cluster("api", wait=False)
    ready = wait_for_api(args, 120)
    w, (a, b) = Writer(args), [f"10.248.{k % 250}.{n}" for n in (1, 2)]
    comes = service(ns, f"comes-{k}", clusterIP="None")
    w.create(comes)
    w.create(endpoint_slice(ns, f"comes-{k}-x", f"comes-{k}", {a: (None, True)}))
    w.delete(goes)
    runner = pod(ns, f"back-{k}")
    w.create(runner)
    w.change(runner, {"status": {"phase": "Running", "podIP": b, "podIPs": [{"ip": b}]}}, "/status")
    fresh = f"{ns}-back-{k}-{os.getpid()}"
    w.namespace(fresh)
    w.create(service(fresh, "first", clusterIP="None"))
    w.create(endpoint_slice(fresh, "first-x", "first", {b: (None, True)}))
    wanted = {"service deleted": missing(f"goes-{k}.{ns}.svc.{ZONE}"), "slice created": has(f"comes-{k}.{ns}.svc.{ZONE}", "A", a),
              "pod created": has(address_name(b, ns), "A", b), "namespace created": has(f"first.{fresh}.svc.{ZONE}", "A", b)}
    times = {}
    while len(times) < len(wanted) and time.monotonic() - ready < args.back_limit:
        for what, condition in wanted.items():
            if what not in times and condition(port):
                times[what] = time.monotonic() - ready
        time.sleep(0.02)
    starting.wait()
    return ready - began, {what: times.get(what) for what in wanted}, w


# ---- all of it
# ---------------------------------------------------------------------------------------------------------

def measure_changes(args, w, port, failures):
    taken = {}
    for i in range(args.rounds):
        for what, conditions in changes(w, args.namespace, i):
            s, never = seconds_until(port, conditions, w.acknowledged, max(2.0, args.change_limit / 1000))
            taken.setdefault(what, []).append(s * 1000)
            if never:
                failures.append(f"{what}: not seen within {max(2.0, args.change_limit / 1000):g} s: {'; '.join(never)}")
            elif s * 1000 > args.change_limit:
                failures.append(f"{what}: {s * 1000:.0f} ms")
    every = sorted(ms for mine in taken.values() for ms in mine)
    print(f"{'change until the answer shows it':36} {'p50':>8} {'max':>8}  ms")
    for what, mine in [*taken.items(), ("all", every)]:
        print(f"  {what:34} {sorted(mine)[len(mine) // 2]:8.1f} {max(mine):8.1f}")
    over = sum(ms > GOAL_CHANGE_MS for ms in every)
    print(f"  {len(every)} changes, {over} over the goal of {GOAL_CHANGE_MS} ms", flush=True)
    return {"changes": len(every), "p50_ms": every[len(every) // 2], "max_ms": every[-1], "over_goal": over}


def measure_outages(args, w, port, ready_port, failures):
    asker = Asker(port, ready_port, steady_questions())
    if (status := asker.ready()) != 200:
        failures.append(f"/ready before the outage: {status}")
    asker.start()
    back = []
    for k in range(args.restarts):
        away, times, w = restart(args, w, port, args.namespace, k, args.outage if k == 0 else args.short)
        worst = None if None in times.values() else max(times.values())
        back.append(worst)
        shown = ", ".join(f"{what} {'never' if t is None else f'{t:.2f} s'}" for what, t in times.items())
        late = worst is None or worst > GOAL_BACK_S
        print(f"API server away for {away:.1f} s; after its return: {shown}" + (f" (over the goal of {GOAL_BACK_S} s)" if late else ""), flush=True)
        if worst is None:
            failures.append(f"restart {k + 1}: not caught up {args.back_limit:g} s after readyz")
    time.sleep(PASS_S)  # one more pass
    asker.ended.set()
    asker.join()
    print(f"asked all the while: {len(asker.questions)} questions, {asker.asked} answers, {asker.ready_asked} times /ready; {len(asker.wrong)} were wrong")
    for line in dict.fromkeys(asker.wrong):
        failures.append(f"during the outage or the return: {line}")
    return {"questions": len(asker.questions), "asked": asker.asked, "wrong": len(asker.wrong), "back_s": back,
            "back_over_goal": sum(s is None or s > GOAL_BACK_S for s in back)}


def run(args):
    failures, result = [], {}
    with tempfile.TemporaryDirectory() as directory:
        _, upstream = dnscase.start_stub()
        port, ready_port = dnscase.Ports.free(), dnscase.Ports.free()
        with open(os.path.join(dnscase.SUITE, "corefiles", "live.Corefile")) as f:
            text = f.read()
        job = {"corefile": "live", "text": text, "server": args.server, "start_s": 20, "settle_s": 0.3,
               "values": {"KUBE_API": args.api, "UPSTREAM": f"127.0.0.1:{upstream}", "READY_PORT": ready_port,
                          "KUBE_TLS": f"tls {args.cert} {args.key} {args.ca}"}}
        server = dnscase.start(job, directory, port, dnscase.Ports.free())
        try:
            w = Writer(args)
            w.namespace(args.namespace)
            if args.rounds:
                result |= measure_changes(args, w, port, failures)
            if args.restarts:
                result |= measure_outages(args, w, port, ready_port, failures)
            if server.poll() is not None:
                failures.append(f"the server is gone: exit status {server.returncode}")
        finally:
            for process in list(dnscase.Running.processes):
                dnscase.Running.stop(process)
            if failures:
                print(f"server's last words: {dnscase.last_words(directory)}", file=sys.stderr)
    if args.strict and (result.get("over_goal") or result.get("back_over_goal")):
        failures.append("a goal was missed")
    for line in failures[:20]:
        print(f"FAIL {line}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({**result, "failures": failures}, f, indent=1)
    print(f"{len(failures)} failures")
    return bool(failures)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--server", nargs="+", required=True, metavar="CMD", help="server command; in quotes if it has options of its own")
    p.add_argument("--rounds", type=int, default=10, help="rounds of changes, 14 writes each (10; 0: skip)")
    p.add_argument("--outage", type=float, default=20, metavar="S", help="seconds without an API server, the first time (20)")
    p.add_argument("--short", type=float, default=3, metavar="S", help="and the other times (3)")
    p.add_argument("--restarts", type=int, default=3, metavar="K", help="how often it goes and comes back (3; 0: skip)")
    p.add_argument("--change-limit", type=float, default=1000, metavar="MS", help="a change that takes longer is a failure (1000)")
    p.add_argument("--back-limit", type=float, default=90, metavar="S", help="so is a return that takes longer (90)")
    p.add_argument("--strict", action="store_true", help=f"and a missed goal: {GOAL_CHANGE_MS} ms, {GOAL_BACK_S} s")
    p.add_argument("--namespace", default="live", help="where the objects are made")
    p.add_argument("--json", metavar="OUT", help="write the result there too")
    p.add_argument("--api", default=os.environ.get("KUBE_API"))
    for name in ("ca", "cert", "key"):
        p.add_argument(f"--{name}", default=os.environ.get(f"KUBE_{name.upper()}"))
    args = p.parse_args()
    if not (args.api and args.ca and args.cert and args.key and os.environ.get("STATE")):
        p.error("needs an API server: run.sh --live starts one, or see tools/cluster.sh")
    if len(args.server) == 1 and not os.path.exists(args.server[0]):
        args.server = shlex.split(args.server[0])
    program = shutil.which(args.server[0])
    if not program:
        p.error(f"no such program: {args.server[0]}")
    args.server[0] = os.path.abspath(program)
    with tempfile.TemporaryDirectory(prefix="dnscase-") as tempfile.tempdir:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, dnscase.Running.end_all)
        return run(args)


if __name__ == "__main__":
    sys.exit(main())

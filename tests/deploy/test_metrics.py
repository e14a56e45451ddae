"""Dashboards and alerts find their series: the usual ones for CoreDNS, and our own.

A Signpost with kubeadm's Corefile answers a short load, twice. Its pages after each become the
series of a unit test for promtool, so that Prometheus's own engine parses and evaluates the
expressions.
"""

import datetime
import json
import os
import re
import socket
import tempfile
import threading
import unittest

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import yaml

import kit

HERE = os.path.dirname(os.path.abspath(__file__))
STEP, BEFORE, AFTER = 15, 30, 10  # a page every 15 s for ten minutes: BEFORE after one load, AFTER after another
ALERTS = os.path.join(kit.DEPLOY, "components", "alerts", "alerts.yaml")
DASHBOARD = os.path.join(kit.DEPLOY, "components", "dashboard", "signpost.json")

COREFILE = """
.:PORT {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:HEALTH
    ready 127.0.0.1:READY
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:METRICS
    forward . 127.0.0.1:{upstream} {{
        max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
dead.test:PORT {{
    bind 127.0.0.1
    prometheus 127.0.0.1:METRICS
    forward . 127.0.0.1:{dead} {{
        health_check 0.1s
    }}
}}
"""


class Upstream:
    """Answers every name with an address, and fail.* with SERVFAIL."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            query = dns.message.from_wire(packet)
            reply = dns.message.make_response(query)
            name = query.question[0].name
            if name.labels[0] == b"fail":
                reply.set_rcode(dns.rcode.SERVFAIL)
            else:
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
            self.socket.sendto(reply.to_wire(), client)


class Dead:
    """A reserved port that refuses: its sockets take packets of one peer only, and no
    connections."""

    def __init__(self):
        self.udp, self.tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp.bind(("127.0.0.1", self.port))
        self.udp.connect(("127.0.0.1", 9))


def change_of_a_service(name):
    """Creates a Service and its endpoints, as the controller does, so that there is a latency to
    measure."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return yaml.safe_dump_all([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 80}],
         "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name},
                      "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now}},
         "endpoints": [{"addresses": ["10.244.0.7"], "conditions": {"ready": True}}]},
    ])


def load(server):
    for name in ("kubernetes.default.svc.cluster.local", "no.default.svc.cluster.local", "example.test", "example.test", "fail.test", "x.dead.test"):
        for kind in ("A", "AAAA"):
            for tcp in (False, True):
                server.ask(name, kind, tcp, want_dnssec=tcp)


def series(page, added):
    """Returns {series with the labels that a scrape adds: value} of a page in Prometheus's text
    format."""
    found = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line).groups()
            found["%s{%s}" % (name, ",".join(filter(None, (labels, added))))] = value
    return found


def promtool(*arguments, **more):
    return kit.run(os.path.join(kit.PEERS, "promtool"), *arguments, **more)


def fill_in(expression):
    """Fills in variables as Grafana does: one that matches anything, and the window of a rate."""
    expression = expression.replace("$__rate_interval", "5m")
    return re.sub(r"\$[a-z]+", ".*", expression)


def as_question(expression):
    """Makes an alert's comparison return 0 or 1: only the presence of its series is tested here."""
    return re.sub(r"(==|>|<)(\s*)([\d.]+(\s*\*\s*[\d.]+)*)\s*$", r"\1 bool \3", fill_in(expression))


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        upstream, dead = Upstream(), Dead()
        user = {"client-certificate": os.environ["KUBE_CERT"], "client-key": os.environ["KUBE_KEY"]}
        cluster = {"server": os.environ["KUBE_API"], "certificate-authority": os.environ["KUBE_CA"]}
        with kit.kubeconfig(cluster, user) as file, kit.Server(COREFILE.format(kubeconfig=file, upstream=upstream.port, dead=dead.port)) as server:
            server.until_ready()
            cls.before = cls.page_after_load(server, "one")
            cls.after = cls.page_after_load(server, "two")

    @staticmethod
    def page_after_load(server, name):
        def page():
            return server.page("METRICS", "/metrics")[1]

        def counts():  # of occasional events: health checks of the server and of a dead upstream
            found = [re.findall(rf"^coredns_{name}(?:\{{.*\}})? (\d+)$", page(), re.M)
                     for name in ("health_request_duration_seconds_count", "forward_healthcheck_failures_total")]
            return [sum(map(int, each)) for each in found]

        at_first = counts()
        try:
            kit.kubectl("apply", "-f", "-", text_in=change_of_a_service(name))
            server.until(lambda: server.ask(f"{name}.default.svc.cluster.local").answer)
        finally:
            kit.kubectl("delete", f"service/{name}", f"endpointslice/{name}")
        load(server)
        server.until(lambda: all(now > then for now, then in zip(counts(), at_first)))
        return page()

    def ask(self, job, present, missing=()):
        """Runs promtool with the two pages as series: expressions in `present` find something,
        those in `missing` nothing."""
        added = f'job="{job}",instance="10.244.0.2:9153",pod="coredns-1",namespace="kube-system"'
        before, after = series(self.before, added), series(self.after, added)
        inputs = [{"series": "up{%s}" % added, "values": f"1x{BEFORE + AFTER}"}]
        for name, value in after.items():
            first = before.get(name)
            early = f"_x{BEFORE}" if first is None else f"{first}x{BEFORE - 1}"  # NxM is N and M more
            inputs.append({"series": name, "values": f"{early} {value}x{AFTER - 1}"})
        at = f"{STEP * (BEFORE + AFTER - 1)}s"
        # NaN is not equal to itself: a quantile of nothing does not count as found.
        tests = [{"expr": f"absent(({e}) == ({e}))", "eval_time": at, "exp_samples": []} for e in present]
        tests += [{"expr": f"count({e})", "eval_time": at, "exp_samples": []} for e in missing]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": [
                {"interval": f"{STEP}s", "input_series": inputs, "promql_expr_test": tests}]}, file)
            file.flush()
            promtool("test", "rules", file.name)

    def test_what_people_have_for_coredns(self):
        with open(os.path.join(HERE, "coredns-expressions.yaml")) as file:
            sources = yaml.safe_load(file)
        for source in sources:
            with self.subTest(source["name"]):
                self.ask(source["job"], map(as_question, source["expressions"]), map(fill_in, source.get("absent", {})))

    def test_the_test_notices_what_is_not_there(self):
        with self.assertRaises(AssertionError):
            self.ask("kube-dns", ["coredns_no_such_series"])
        with self.assertRaises(AssertionError):
            self.ask("kube-dns", [], ["coredns_build_info"])

    def test_our_dashboard(self):
        with open(DASHBOARD) as file:
            panels = json.load(file)["panels"]
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
        self.assertGreater(len(expressions), 20)
        self.ask("kube-dns", map(fill_in, expressions))

    def test_our_alerts(self):
        with open(ALERTS) as file:
            groups = [group for group in yaml.safe_load(file)["spec"]["groups"] if group["name"] != "signpost-node-cache"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.ask("kube-dns", [as_question(rule["expr"]) for rule in rules])


class Alerts(unittest.TestCase):
    """The rules as Prometheus reads them, and each of them fires."""

    def test_rules(self):
        with open(ALERTS) as file:
            spec = yaml.safe_load(file)["spec"]
        cases = os.path.join(HERE, "alerts_test.yaml")
        with open(cases) as file:
            text = file.read()
        for rule in (rule for group in spec["groups"] for rule in group["rules"]):
            self.assertIn('{alertname="%s"}' % rule["alert"], text)
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "rules.yaml"), "w") as file:
                yaml.safe_dump(spec, file)
            with open(os.path.join(folder, "alerts_test.yaml"), "w") as file:
                file.write(text)
            promtool("check", "rules", "--lint=all", "--lint-fatal", os.path.join(folder, "rules.yaml"))
            promtool("test", "rules", os.path.join(folder, "alerts_test.yaml"))

"""A NodeLocal DNSCache: the overlay, the chart, and the image in node-cache's place under runc."""

import json
import os
import re
import tempfile
import unittest

import yaml

import kit
import test_chart
import test_image

CHART = os.path.join(kit.DEPLOY, "helm", "node-local-dns")
HERE = os.path.dirname(os.path.abspath(__file__))
UPSTREAM = "10.96.0.99"  # the ClusterIP of the upstream Service
# Most options at once; behind a CiliumLocalRedirectPolicy; no options.
VALUES = ["", """
config:
  dnsDomain: cluster.test
  dnsServer: 10.43.0.10
  localDns: 169.254.20.25
  bindIp: true
  commProtocol: prefer_udp
  enableLogging: true
  noIPv6Lookups: true
  cacheTTL: 60
  prefetch: {enabled: true}
  serveStale: {enabled: true, mode: verify}
  healthPort: 3989
  skipTeardown: true
  extraServerBlocks: "example.test:53 {\\n    bind 169.254.20.25\\n    forward . 192.0.2.53\\n}"
  upstreamServers: 192.0.2.53 192.0.2.54
  upstreamForwardConfig: {a: prefer_udp}
  upstreamServiceSelector: {app: dns}
image: {repository: registry.k8s.io/dns/k8s-dns-node-cache, tag: ""}
priorityClassName: system-node-critical
imagePullSecrets: [{name: secret}]
serviceMonitor: {enabled: true, labels: {release: prometheus}, interval: 10s}
podAnnotations: {a: b}
podLabels: {c: d}
updateStrategy: {type: OnDelete}
livenessProbe: {timeoutSeconds: 2}
""", """
config: {setupInterface: false, setupIptables: false, skipTeardown: true, customUpstreamsvc: kube-dns-upstream}
"""]


def chart(values="", *arguments, **more):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        return test_chart.helm("template", "node-local-dns", CHART, "--values", file.name, *arguments, **more)


def parts(found):
    """Returns the container of the DaemonSet, and its Corefile."""
    [container] = found["DaemonSet", "node-local-dns"]["spec"]["template"]["spec"]["containers"]
    return container, found["ConfigMap", "node-local-dns"]["data"]["Corefile"]


class Manifests(unittest.TestCase):
    def each(self):
        yield "overlay", kit.rendered("nodelocal")
        for values in VALUES:
            yield values, kit.objects(chart(values))

    def test_the_api_server_takes_the_chart(self):
        for values in VALUES:
            with self.subTest(values):
                kit.kubectl("-n", "kube-system", "apply", "--dry-run=server", "--validate=strict", "-f", "-", text_in=chart(values))

    def test_the_program_takes_corefile_and_flags(self):
        for name, found in self.each():
            container, corefile = parts(found)
            with self.subTest(name), tempfile.NamedTemporaryFile("w") as file:
                file.write(corefile)
                file.flush()
                variable = container["args"][container["args"].index("-upstreamsvc") + 1].upper().replace("-", "_")
                command = (kit.SERVER, *container["args"], "-basecorefile", file.name, "-validate")
                self.assertIn("is valid", kit.run("env", f"{variable}_SERVICE_HOST={UPSTREAM}", *command))
                said = kit.run("env", "-i", *command, fails=True)
                self.assertIn(f"{variable}_SERVICE_HOST", said)

    def test_addresses_agree(self):
        for name, found in self.each():
            container, corefile = parts(found)
            with self.subTest(name):
                addresses = container["args"][container["args"].index("-localip") + 1].split(",")
                binds = set(re.findall(r"^ *bind (.*)$", corefile, re.M)) - {"169.254.20.25"}  # the extra block's
                wildcard = "-setupiptables=false" in container["args"]
                self.assertEqual({"0.0.0.0" if wildcard else " ".join(addresses)}, binds)
                for probe in ("livenessProbe", "readinessProbe"):
                    self.assertEqual(None if wildcard else addresses[0], container[probe]["httpGet"].get("host"))
                    page = {"livenessProbe": "health", "readinessProbe": "ready"}[probe]
                    host = "" if wildcard else addresses[0]
                    self.assertIn(f"{page} {host}:{container[probe]['httpGet']['port']}\n", corefile)

    def test_the_upstream_is_there_under_its_name(self):
        for name, found in self.each():
            container, _ = parts(found)
            upstream = container["args"][container["args"].index("-upstreamsvc") + 1]
            with self.subTest(name):
                if "customUpstreamsvc" not in name:
                    self.assertEqual(["dns", "dns-tcp"], [p["name"] for p in found["Service", upstream]["spec"]["ports"]])

    def test_the_overlay_can_be_applied_over_the_addon(self):
        found = kit.rendered("nodelocal")
        pod = found["DaemonSet", "node-local-dns"]["spec"]
        self.assertEqual({"k8s-app": "node-local-dns"}, pod["selector"]["matchLabels"])
        self.assertEqual({"k8s-app": "kube-dns"}, found["Service", "kube-dns-upstream"]["spec"]["selector"])
        self.assertEqual("node-cache", pod["template"]["spec"]["containers"][0]["name"])
        self.assertTrue(pod["template"]["spec"]["hostNetwork"])
        self.assertEqual("system-node-critical", pod["template"]["spec"]["priorityClassName"])
        self.assertFalse([v for v in pod["template"]["spec"]["volumes"] if "hostPath" in v], "nothing of the node is mounted")
        self.assertFalse([key for key in found if key[0].startswith(("ClusterRole", "Role"))], "nothing is asked of the API server")

    def test_chart_and_overlay_are_as_safe(self):
        [ours, base] = [parts(found)[0] for found in (kit.objects(chart()), kit.rendered("nodelocal"))]
        for it in ("securityContext", "resources", "command", "volumeMounts"):
            self.assertEqual(base[it], ours[it], it)
        redirected, _ = parts(kit.objects(chart(VALUES[2])))
        self.assertEqual(["NET_BIND_SERVICE"], redirected["securityContext"]["capabilities"]["add"])
        self.assertNotIn("runAsUser", redirected["securityContext"])

    def test_chart_lints_and_refuses_by_name(self):
        test_chart.helm("lint", "--strict", CHART)
        for key, said in {
            "config.noIPv6Lookups=1": "/config/noIPv6Lookups",
            "config.commProtocol=tcp": "/config/commProtocol",
            "dashboard.enabled=true": "/dashboard/enabled",
        }.items():
            with self.subTest(key):
                self.assertIn(said, chart("", "--set", key, fails=True))

    def test_notes_name_what_is_ignored_and_whose_image_runs(self):
        self.assertNotIn("WARNING", test_chart.notes(CHART))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(VALUES[1])
            file.flush()
            said = test_chart.notes(CHART, file.name)
        self.assertIn("WARNING: registry.k8s.io/dns/k8s-dns-node-cache is the name of an image of node-cache", said)
        self.assertTrue(said.rstrip().endswith("ignored:\n  priorityClassName"), said)

    def test_every_key_of_the_chart_that_people_have_is_known_and_used(self):
        with open(os.path.join(CHART, "values.schema.json")) as file:
            schema = json.load(file)
        texts = ""
        for name in os.listdir(os.path.join(CHART, "templates")):
            with open(os.path.join(CHART, "templates", name)) as file:
                texts += file.read()
        with open(os.path.join(HERE, "node-local-dns-keys.txt")) as file:
            lines = [line.strip() for line in file if not line.startswith("#")]
        for line in lines:
            above, _, last = line.partition(".{") if "{" in line else ("", "", line)
            for key in last.rstrip("}").split(","):
                at = schema
                for word in filter(None, [*above.split("."), key]):
                    self.assertIn(word, at["properties"], f"{above}.{key}")
                    at = at["properties"][word]
                unused = above in ("dashboard", "livenessProbe")
                self.assertTrue(re.search(rf'[."]{key}\b', texts) or unused, f"{above}.{key} has no effect")

    def test_the_service_monitor_finds_the_metrics(self):
        found = kit.objects(chart(VALUES[1]))
        wanted = found["ServiceMonitor", "node-local-dns"]["spec"]["selector"]["matchLabels"]
        matching = [name for (kind, name), it in found.items() if kind == "Service" and wanted.items() <= it["metadata"]["labels"].items()]
        self.assertEqual(["node-local-dns"], matching)
        self.assertEqual(yaml.safe_load(VALUES[1])["podAnnotations"], found["DaemonSet", "node-local-dns"]["spec"]["template"]["metadata"]["annotations"])


class Container(test_image.Unpacked):
    """With the settings of the DaemonSet, in its own network as the node's."""

    MOUNTED = "Corefile.base"
    COREFILE = ".:53 {\n    bind __PILLAR__LOCAL__DNS__\n    whoami\n}\n# forward . __PILLAR__CLUSTER__DNS__\n"

    def start(self, uid):
        container, _ = parts(kit.rendered("nodelocal"))
        self.assertEqual(["/node-cache"], container["command"])
        env = [f"KUBE_DNS_UPSTREAM_SERVICE_HOST={UPSTREAM}"]
        return self.run_container(container, uid, "/node-cache", f"signpost-node-{uid}", env)

    def test_it_has_the_rights_that_it_needs(self):
        process, pid_file = self.start(kit.rendered("nodelocal")["DaemonSet", "node-local-dns"]
                                       ["spec"]["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"])
        for server in ("169.254.20.10", "10.96.0.10"):
            self.assertIn("status: NOERROR", self.ask(process, pid_file, server))
        with open(pid_file) as file:
            rules = kit.run("nsenter", "-t", file.read(), "-n", "nft", "list", "table", "inet", "nodelocaldns")
        self.assertEqual(16, rules.count("notrack"), rules)
        process.terminate()
        said, _ = process.communicate(timeout=60)
        self.assertEqual(0, process.returncode, said)

    def test_who_is_not_root_is_told(self):
        process, _ = self.start(65532)
        said, _ = process.communicate(timeout=60)
        self.assertNotEqual(0, process.returncode)
        self.assertIn("runAsUser: 0", said)

"""The chart, with usual values for coredns/helm, against a real API server."""

import glob
import json
import os
import re
import tempfile
import unittest

import yaml

import kit

CHART = os.path.join(kit.DEPLOY, "helm", "signpost")
VALUES = [None, *sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "values", "*.yaml")))]


def helm(*arguments, **more):
    return kit.run(os.path.join(kit.PEERS, "helm"), *arguments, "--namespace", "kube-system", **more)


def template(values=None, *arguments, **more):
    return helm("template", "coredns", CHART, *(("--values", values) if values else ()), *arguments, **more)


def notes(chart, values=None, *arguments):
    """Returns the notes of `helm install`."""
    said = helm("install", "coredns", chart, "--dry-run=client", *(("--values", values) if values else ()), *arguments)
    return said.partition("NOTES:\n")[2]


def known(schema, at):
    """Returns the keys of a schema, in the form of known.yaml."""
    at = schema["$defs"][at["$ref"].split("/")[-1]] if "$ref" in at else at
    if "properties" in at:
        return {key: known(schema, below) for key, below in at["properties"].items()}
    item = known(schema, at["items"]) if "items" in at else True
    return True if item is True else [item]


class Chart(unittest.TestCase):
    def test_lint(self):
        for values in VALUES:
            helm("lint", "--strict", CHART, *(("--values", values) if values else ()))

    def test_the_api_server_takes_it(self):
        for values in VALUES:
            with self.subTest(values):
                kit.kubectl("-n", "kube-system", "apply", "--dry-run=server", "--validate=strict", "-f", "-", text_in=template(values))

    def test_the_corefile_is_valid(self):
        for values in VALUES:
            with self.subTest(values), tempfile.NamedTemporaryFile("w") as file:
                [config] = [it for (kind, _), it in kit.objects(template(values)).items() if kind == "ConfigMap" and "Corefile" in it["data"]]
                file.write(config["data"]["Corefile"])
                file.flush()
                kit.run(kit.SERVER, "-conf", file.name, "-validate")

    def test_an_upgrade_from_coredns_helm_finds_its_objects(self):
        """Names and selectors of coredns/helm with `k8sAppLabelOverride: kube-dns`; a selector
        cannot be changed."""
        deployment = kit.objects(template())["Deployment", "coredns"]["spec"]
        labels = {"app.kubernetes.io/instance": "coredns", "app.kubernetes.io/name": "coredns", "k8s-app": "kube-dns"}
        self.assertEqual(labels, deployment["selector"]["matchLabels"])
        self.assertEqual("coredns", deployment["template"]["spec"]["containers"][0]["name"])
        self.assertEqual("coredns", deployment["template"]["spec"]["volumes"][0]["configMap"]["name"])

    def test_the_service_is_that_of_the_clusters_dns(self):
        found = kit.objects(template(VALUES[[str(v).endswith("kube-dns.yaml") for v in VALUES].index(True)]))
        service = found["Service", "kube-dns"]["spec"]
        self.assertEqual(kit.DNS_IP, service["clusterIP"])
        ports = [(p["name"], p["port"], p["protocol"], p["targetPort"]) for p in service["ports"]]
        self.assertEqual([("dns", 53, "UDP", 53), ("dns-tcp", 53, "TCP", 53), ("metrics", 9153, "TCP", 9153)], ports)

    def test_pods_are_as_safe_as_those_of_the_base(self):
        base = kit.rendered("kubeadm")["Deployment", "coredns"]["spec"]
        ours = kit.objects(template())["Deployment", "coredns"]["spec"]
        self.assertEqual(base["strategy"], ours["strategy"])
        self.assertEqual(base["minReadySeconds"], ours["minReadySeconds"])
        for it in ("securityContext", "priorityClassName", "dnsPolicy", "nodeSelector", "tolerations", "terminationGracePeriodSeconds"):
            self.assertEqual(base["template"]["spec"][it], ours["template"]["spec"][it], it)
        for it in ("securityContext", "resources", "args"):
            self.assertEqual(*(d["template"]["spec"]["containers"][0][it] for d in (base, ours)), it)

    def test_the_file_of_snapshot_has_a_volume(self):
        for values, volume in ({}, "emptyDir"), ({"snapshot": {"volume": {"hostPath": {"path": "/x"}}}}, "hostPath"):
            with tempfile.NamedTemporaryFile("w") as file:
                yaml.safe_dump(values, file)
                file.flush()
                found = kit.objects(template(file.name))
            kit.check_snapshot(self, found["Deployment", "coredns"]["spec"]["template"]["spec"], volume)
            self.assertIn(f"snapshot {kit.SNAPSHOTS}/", found["ConfigMap", "coredns"]["data"]["Corefile"])

    def test_rights_are_those_of_the_base(self):
        def rules(found):
            return [it["rules"] for (kind, _), it in found.items() if kind == "ClusterRole"]
        self.assertEqual(rules(kit.rendered("kubeadm")), rules(kit.objects(template())))

    def test_every_key_of_coredns_helm_is_known_and_used(self):
        with open(os.path.join(CHART, "values.schema.json")) as file:
            schema = json.load(file)
        texts = ""
        for template_file in glob.glob(os.path.join(CHART, "templates", "*")):
            with open(template_file) as file:
                texts += file.read()
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "coredns-helm-keys.txt")) as file:
            lines = [line.strip() for line in file if not line.startswith("#")]
        for line in lines:
            above, _, last = line.partition(".{") if "{" in line else line.rpartition(".")
            for key in last.rstrip("}").split(","):
                at = schema
                for word in filter(None, [*above.split("."), key]):
                    at = schema["$defs"][at["$ref"].split("/")[-1]] if "$ref" in at else at
                    self.assertIn(word, at["properties"], f"{above}.{key}")
                    at = at["properties"][word]
                self.assertTrue(re.search(rf'[."]{key}\b', texts) or "Probe" in above, f"{above}.{key} has no effect")

    def test_what_is_unknown_is_ignored_and_named(self):
        self.assertNotIn("WARNING", notes(CHART))
        self.assertNotIn("WARNING", notes(CHART, next(v for v in VALUES if str(v).endswith("everything.yaml"))))
        said = notes(CHART, next(v for v in VALUES if str(v).endswith("wild.yaml")))
        _, _, ignored = said.partition("unknown to this chart, and ignored:\n")
        keys = ["livenessProbe.httpGet", "rbac.pspEnable", "replicas", "servers[0].parameters", "servers[0].plugins[1].config",
                "servers[0].zones[0].name", "service.ipFamilies", "service.ports"]
        self.assertEqual(keys, ignored.partition("\n\n")[0].split(), said)
        texts = template(next(v for v in VALUES if str(v).endswith("wild.yaml")))
        self.assertNotIn("/live", texts)
        self.assertIn('image: "docker.io/coredns/coredns:v1.15.0"', texts)
        self.assertIn("cluster-proportional-autoscaler:v1.9.0", texts)
        self.assertEqual([{"name": "registry"}], kit.objects(texts)["Deployment", "coredns"]["spec"]["template"]["spec"]["imagePullSecrets"])

    def test_what_the_notes_know_is_what_the_schema_knows(self):
        for chart in (CHART, os.path.join(os.path.dirname(CHART), "node-local-dns")):
            with open(os.path.join(chart, "values.schema.json")) as schema, open(os.path.join(chart, "known.yaml")) as known_file:
                schema = json.load(schema)
                self.assertEqual(known(schema, schema), yaml.safe_load(known_file), chart)

    def test_an_image_of_coredns_is_named(self):
        """Names of CoreDNS's own images, and one of ours."""
        for name in ("coredns/coredns", "docker.io/coredns/coredns", "registry.k8s.io/coredns/coredns", "k8s.gcr.io/coredns",
                     "602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/coredns", "rancher/mirrored-coredns-coredns",
                     "mcr.microsoft.com/oss/v2/kubernetes/coredns", "public.ecr.aws/eks-distro/coredns/coredns"):
            with self.subTest(name):
                self.assertIn(f"WARNING: {name} is the name of an image of CoreDNS", notes(CHART, None, "--set", f"image.repository={name}"))
        self.assertNotIn("WARNING", notes(CHART, None, "--set", "image.repository=registry.example.com/dns/coredns"))

    def test_what_is_wrong_is_refused_by_name(self):
        for key, said in {
            "podDisruptionBudget.maxUnavailabel=1": "'maxUnavailabel' not allowed",
            "servers[0].port=web": "/servers/0/port",
            "image.repository=": "/image/repository",
            "image.pullPolicy=Sometimes": "/image/pullPolicy",
        }.items():
            with self.subTest(key):
                self.assertIn(said, template(None, "--set", key, fails=True))

    def test_contradictions_are_refused(self):
        self.assertIn("choose one", template(None, "--set", "hpa.enabled=true,autoscaler.enabled=true", fails=True))
        self.assertIn("needs prometheus.service.enabled", template(None, "--set", "prometheus.monitor.enabled=true", fails=True))
        template(None, "--set", "prometheus.monitor.enabled=true,prometheus.monitor.selector.matchLabels.k8s-app=kube-dns")

    def test_the_service_monitor_finds_the_metrics_service(self):
        found = kit.objects(template(None, "--set", "prometheus.service.enabled=true,prometheus.monitor.enabled=true"))
        wanted = found["ServiceMonitor", "coredns"]["spec"]["selector"]["matchLabels"]
        matching = [name for (kind, name), it in found.items() if kind == "Service" and wanted.items() <= it["metadata"]["labels"].items()]
        self.assertEqual(["coredns-metrics"], matching)

    def test_the_operators_definition_takes_the_service_monitor(self):
        values = json.dumps({"prometheus": {"service": {"enabled": True}, "monitor": {
            "enabled": True, "additionalLabels": {"release": "prometheus"}, "namespace": "default", "interval": "15s", "scrapeTimeout": "5s",
            "scheme": "https", "honorLabels": True, "tlsConfig": {"insecureSkipVerify": True},
            "relabelings": [{"action": "keep", "sourceLabels": ["job"], "regex": ".*"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "x"}], "selector": {"matchLabels": {"a": "b"}}}}})
        dry_run = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
        text = kit.text_of({key: it for key, it in kit.objects(template("-", text_in=values)).items() if key[0] == "ServiceMonitor"})
        self.assertIn("servicemonitor", kit.kubectl(*dry_run, text_in=text))
        self.assertIn('unknown field "spec.intervall"', kit.kubectl(*dry_run, text_in=text + "  intervall: 1s\n", fails=True))

    def test_install_upgrade_rollback_uninstall(self):
        self.addCleanup(helm, "uninstall", "coredns", "--ignore-not-found")
        helm("install", "coredns", CHART)
        before = kit.get("deployment", "coredns")
        helm("upgrade", "coredns", CHART, "--set", "image.tag=v1.14.2")
        self.assertIn("v1.14.2", kit.get("deployment", "coredns")["spec"]["template"]["spec"]["containers"][0]["image"])
        helm("rollback", "coredns", "1")
        after = kit.get("deployment", "coredns")
        self.assertEqual(before["spec"]["template"], after["spec"]["template"])
        self.assertEqual(before["metadata"]["uid"], after["metadata"]["uid"])

"""The chart, with values as people have them for coredns/helm, against a real API server."""

import glob
import json
import os
import re
import tempfile
import unittest

import kit

CHART = os.path.join(kit.DEPLOY, "helm", "signpost")
VALUES = [None, *sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "values", "*.yaml")))]


def helm(*arguments, **more):
    return kit.run(os.path.join(kit.PEERS, "helm"), *arguments, "--namespace", "kube-system", **more)


def template(values=None, *arguments, **more):
    return helm("template", "coredns", CHART, *(("--values", values) if values else ()), *arguments, **more)


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
        """Names and selectors of coredns/helm with `k8sAppLabelOverride: kube-dns`; a selector cannot be changed."""
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
                self.assertTrue(re.search(rf'[."]{key}\b', texts) or "Probe" in above or key == "pspEnable", f"{above}.{key} has no effect")

    def test_what_is_unknown_is_refused_by_name(self):
        for key, said in {
            "replicas=2": "'replicas' not allowed",
            "service.clusterip=10.0.0.1": "'clusterip' not allowed",
            "servers[0].plugin=x": "'plugin' not allowed",
            "rbac.pspEnable=true": "/rbac/pspEnable",
            "image.pullPolicy=Sometimes": "/image/pullPolicy",
        }.items():
            with self.subTest(key):
                self.assertIn(said, template(None, "--set", key, fails=True))

    def test_contradictions_are_refused(self):
        self.assertIn("choose one", template(None, "--set", "hpa.enabled=true,autoscaler.enabled=true", fails=True))
        self.assertIn("needs prometheus.service.enabled", template(None, "--set", "prometheus.monitor.enabled=true", fails=True))

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

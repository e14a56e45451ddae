"""The base, its overlays and components, against a real API server (which has no controllers, so
nothing runs)."""

import os
import re
import tempfile
import unittest

import yaml

import kit

KUBEADM = os.path.join(kit.ROOT, "tests", "cluster", "manifests", "coredns.yaml")
COMPONENTS = ["replicas", "autoscaler-proportional", "autoscaler-hpa", "dashboard", "service-monitor", "alerts"]


def within_range(found):
    """Uses a ClusterIP of the test's API server, as a user with another service network does."""
    for (kind, _), it in found.items():
        if kind == "Service" and it["spec"].get("clusterIP", "None") != "None":
            it["spec"]["clusterIP"] = kit.DNS_IP
    return found


class Overlays(unittest.TestCase):
    def test_the_api_server_takes_each(self):
        for overlay in kit.OVERLAYS:
            with self.subTest(overlay):
                kit.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text_in=kit.text_of(within_range(kit.rendered(overlay))))

    def test_with_each_component(self):
        for component in COMPONENTS:
            with self.subTest(component), tempfile.TemporaryDirectory(dir=kit.DEPLOY) as folder:
                with open(os.path.join(folder, "kustomization.yaml"), "w") as file:
                    yaml.safe_dump({"resources": ["../overlays/kubeadm"], "components": [f"../components/{component}"]}, file)
                kit.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text_in=kit.kubectl("kustomize", folder))

    def test_a_kustomization_of_ones_own(self):
        """As in deploy/README.md: another image and another ClusterIP, for each overlay that
        replaces a CoreDNS."""
        for overlay in set(kit.SERVERS) - {"beside"}:
            with self.subTest(overlay), tempfile.TemporaryDirectory(dir=kit.DEPLOY) as folder:
                with open(os.path.join(folder, "kustomization.yaml"), "w") as file:
                    yaml.safe_dump({
                        "resources": [f"../overlays/{overlay}"],
                        "images": [{"name": "registry.local/signpost/coredns", "newName": "registry.test/dns/coredns", "newTag": "v1.14.2"}],
                        "patches": [{"target": {"kind": "Service", "name": "kube-dns"},
                                     "patch": '[{"op": "replace", "path": "/spec/clusterIP", "value": "10.200.0.10"}]'}],
                    }, file)
                found = kit.objects(kit.kubectl("kustomize", folder))
                [container] = found["Deployment", "coredns"]["spec"]["template"]["spec"]["containers"]
                self.assertEqual("registry.test/dns/coredns:v1.14.2", container["image"])
                self.assertEqual("10.200.0.10", found["Service", "kube-dns"]["spec"]["clusterIP"])

    def test_pods_pass_the_strictest_pod_security(self):
        level = "pod-security.kubernetes.io/warn"
        kit.kubectl("label", "--overwrite", "namespace", "kube-system", f"{level}=restricted")
        try:
            apply = ("apply", "--dry-run=server", "-f", "-")
            with open(KUBEADM) as file:
                self.assertIn("would violate PodSecurity", kit.kubectl(*apply, text_in=file.read()), "the check itself works")
            for overlay in kit.SERVERS:
                said = kit.kubectl(*apply, text_in=kit.text_of(within_range(kit.rendered(overlay))))
                self.assertNotIn("PodSecurity", said, overlay)
        finally:
            kit.kubectl("label", "namespace", "kube-system", f"{level}-")

    def test_corefiles_are_valid(self):
        for overlay in kit.SERVERS:
            for (kind, name), it in kit.rendered(overlay).items():
                if kind == "ConfigMap":
                    with self.subTest(overlay), tempfile.NamedTemporaryFile("w") as file:
                        file.write(it["data"]["Corefile"])
                        file.flush()
                        kit.run(kit.SERVER, "-conf", file.name, "-validate")

    def test_names_that_others_look_up(self):
        for overlay in set(kit.SERVERS) - {"beside"}:
            with self.subTest(overlay):
                found = kit.rendered(overlay)
                pod = found["Deployment", "coredns"]["spec"]["template"]
                self.assertEqual("kube-dns", pod["metadata"]["labels"]["k8s-app"])
                self.assertEqual(["coredns"], [c["name"] for c in pod["spec"]["containers"]])
                volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "config-volume")
                mounted = {"name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}]}
                if overlay == "k3s":  # which writes node names into the same ConfigMap, or not
                    mounted["items"].append({"key": "NodeHosts", "path": "NodeHosts"})
                    mounted["optional"] = True
                self.assertEqual(mounted, volume["configMap"])
                ports = [(p["name"], p["port"], p["protocol"]) for p in found["Service", "kube-dns"]["spec"]["ports"]]
                self.assertEqual([("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")], ports)
                self.assertNotIn("app.kubernetes.io/name", found["Service", "kube-dns"]["metadata"]["labels"])

    def test_the_file_of_snapshot_has_a_volume(self):
        for overlay in kit.SERVERS:
            with self.subTest(overlay):
                found = kit.rendered(overlay)
                [pod] = [it["spec"]["template"]["spec"] for (kind, _), it in found.items() if kind == "Deployment"]
                kit.check_snapshot(self, pod)
                for (kind, _), it in found.items():
                    if kind == "ConfigMap":
                        self.assertIn(f"snapshot {kit.SNAPSHOTS}/", it["data"]["Corefile"])

    def test_beside_gets_no_question_of_the_clusters_dns(self):
        for (kind, name), it in kit.rendered("beside").items():
            self.assertTrue(name.startswith("signpost-"), f"{kind} {name}")
            self.assertNotIn("kube-dns", re.sub("signpost-kube-dns", "", yaml.safe_dump(it)), f"{kind} {name}")

    def test_the_service_monitor_finds_the_service(self):
        with open(os.path.join(kit.DEPLOY, "components/service-monitor/service-monitor.yaml")) as file:
            monitor = yaml.safe_load(file)["spec"]
        service = kit.rendered("kubeadm")["Service", "kube-dns"]
        wanted = monitor["selector"]["matchLabels"]
        self.assertEqual(wanted, {k: service["metadata"]["labels"].get(k) for k in wanted})
        self.assertIn(service["metadata"]["namespace"], monitor["namespaceSelector"]["matchNames"])
        self.assertLessEqual({e["port"] for e in monitor["endpoints"]}, {p["name"] for p in service["spec"]["ports"]})


class OverKubeadm(unittest.TestCase):
    """The move from kubeadm's CoreDNS to Signpost, and back."""

    def setUp(self):
        kit.kubectl("create", "-f", KUBEADM)
        self.addCleanup(kit.kubectl, "delete", "--ignore-not-found", "-f", KUBEADM)
        overlay = os.path.join(kit.DEPLOY, "overlays/kubeadm")
        self.addCleanup(kit.kubectl, "delete", "--ignore-not-found", "-k", overlay)
        self.before = {k: kit.get(*k) for k in (("deployment", "coredns"), ("configmap", "coredns"), ("service", "kube-dns"))}
        kit.kubectl("apply", "-k", overlay)

    def test_it_is_replaced_in_place(self):
        was, now = self.before["deployment", "coredns"], kit.get("deployment", "coredns")
        self.assertEqual(was["metadata"]["uid"], now["metadata"]["uid"])
        self.assertEqual(was["spec"]["replicas"], now["spec"]["replicas"])
        self.assertIn("signpost", now["spec"]["template"]["spec"]["containers"][0]["image"])
        self.assertEqual(0, now["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"])
        self.assertEqual(self.before["configmap", "coredns"]["data"], kit.get("configmap", "coredns")["data"])
        self.assertEqual(self.before["service", "kube-dns"]["spec"], kit.get("service", "kube-dns")["spec"])

    def test_and_back(self):
        with open(KUBEADM) as file:
            kit.kubectl("apply", "-f", "-", text_in=file.read())
        was, now = self.before["deployment", "coredns"]["spec"], kit.get("deployment", "coredns")["spec"]
        self.assertEqual(was["template"]["spec"]["containers"][0]["image"], now["template"]["spec"]["containers"][0]["image"])
        self.assertEqual(was["selector"], now["selector"])


class Rights(unittest.TestCase):
    """The role is sufficient and minimal, and a missing right is named."""

    def setUp(self):
        found = kit.rendered("kubeadm")
        self.role = next(it for (kind, _), it in found.items() if kind == "ClusterRole")
        rights = {k: it for k, it in found.items() if k[0] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")}
        kit.kubectl("apply", "-f", "-", text_in=kit.text_of(rights))
        self.addCleanup(kit.kubectl, "delete", "-f", "-", text_in=kit.text_of(rights))

    def serve(self, file):
        return kit.Server(f"""
            .:PORT {{
                bind 127.0.0.1
                ready 127.0.0.1:READY
                health 127.0.0.1:HEALTH
                errors
                kubernetes cluster.local in-addr.arpa {{
                    kubeconfig {file}
                    pods verified
                }}
            }}""")

    def test_they_are_enough(self):
        with kit.account("coredns") as file, self.serve(file) as server:
            server.until_ready()
            self.assertEqual("10.96.0.1", server.ask("kubernetes.default.svc.cluster.local").answer[0][0].address)

    def test_and_no_more(self):
        for rule in self.role["rules"]:
            self.assertEqual(["list", "watch"], rule["verbs"])
        kinds = {(group, kind) for rule in self.role["rules"] for group in rule["apiGroups"] for kind in rule["resources"]}
        self.assertEqual({("", "namespaces"), ("", "services"), ("", "pods"), ("discovery.k8s.io", "endpointslices")}, kinds)

    def test_without_one_the_server_names_it(self):
        for rule in self.role["rules"]:
            for kind in rule["resources"]:
                with self.subTest(kind):
                    less = dict(self.role, rules=[{**r, "resources": [k for k in r["resources"] if k != kind]} for r in self.role["rules"]])
                    less["rules"] = [r for r in less["rules"] if r["resources"]]
                    kit.kubectl("apply", "-f", "-", text_in=yaml.safe_dump(less))
                    with kit.account("coredns") as file, self.serve(file) as server:
                        server.until(lambda: f"grant the verbs list and watch on {kind}" in server.said())
                        self.assertEqual(503, server.page("READY", "/ready")[0])

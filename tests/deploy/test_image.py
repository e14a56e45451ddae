"""The image: reproducible, complete, and running under runc as under a kubelet."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import unittest

import kit

NAME = "registry.test/dns/coredns:v1.15.0"


def build(folder, *role):
    out = os.path.join(folder, "image.tar")
    kit.run(sys.executable, os.path.join(kit.DEPLOY, "image", "image.py"), kit.SERVER, NAME, out, *role)
    return out


class Image:
    """The contents of an image layout; every digest and size on the way is checked."""

    def __init__(self, file):
        with tarfile.open(file) as tar:
            self.files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        [self.top] = json.loads(self.files["index.json"])["manifests"]
        self.manifest = json.loads(self.blob(self.top))
        self.config = json.loads(self.blob(self.manifest["config"]))
        [layer] = self.manifest["layers"]
        self.layer = self.blob(layer)
        assert self.config["rootfs"]["diff_ids"] == [layer["digest"]], "the layer is not compressed"
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as tar:
            self.entries = {m.name: m for m in tar}
            self.bill = json.loads(tar.extractfile("usr/share/sbom/signpost.cdx.json").read())

    def blob(self, described):
        content = self.files["blobs/" + described["digest"].replace(":", "/")]
        assert "sha256:" + hashlib.sha256(content).hexdigest() == described["digest"]
        assert len(content) == described["size"]
        return content


class Layout(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.file = build(cls.folder.name)
        cls.image = Image(cls.file)

    def test_two_builds_are_the_same(self):
        with tempfile.TemporaryDirectory() as other, open(self.file, "rb") as one, open(build(other), "rb") as two:
            self.assertEqual(hashlib.sha256(one.read()).hexdigest(), hashlib.sha256(two.read()).hexdigest())

    def test_it_is_what_manifests_for_coredns_expect(self):
        config = self.image.config["config"]
        self.assertEqual(["/coredns"], config["Entrypoint"])
        self.assertEqual("65532:65532", config["User"])
        self.assertEqual("/coredns", self.image.entries["usr/bin/coredns"].linkname)
        self.assertIn("/usr/bin", config["Env"][0])
        self.assertEqual(NAME, self.image.top["annotations"]["io.containerd.image.name"])
        self.assertEqual("v1.15.0", self.image.top["annotations"]["org.opencontainers.image.ref.name"])

    def test_the_role_of_node_cache_is_the_same_layer(self):
        with tempfile.TemporaryDirectory() as folder:
            other = Image(build(folder, "node-cache"))
        self.assertEqual(self.image.manifest["layers"], other.manifest["layers"])
        self.assertEqual((["/node-cache"], "0:0"), (other.config["config"]["Entrypoint"], other.config["config"]["User"]))
        self.assertEqual("/coredns", other.entries["node-cache"].linkname)

    def test_there_is_one_program_and_nobody_else_may_write(self):
        programs = [name for name, it in self.image.entries.items() if it.isfile() and it.mode & 0o111]
        self.assertEqual(["coredns"], programs)
        for name, it in self.image.entries.items():
            self.assertEqual((0, 0), (it.uid, it.gid), name)
            self.assertTrue(it.issym() or not it.mode & 0o022, name)

    def test_the_bill_names_every_crate_and_none_of_tests(self):
        with open(os.path.join(kit.ROOT, "Cargo.toml"), "rb") as file:
            manifest = tomllib.load(file)
        with open(os.path.join(kit.ROOT, "Cargo.lock"), "rb") as file:
            locked = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
        components = {(c["name"], c["version"]): c for c in self.image.bill["components"]}
        names = {name for name, _ in components}
        self.assertLessEqual(set(manifest["dependencies"]), names)
        self.assertEqual(set(), names & {"criterion", "proptest", "hickory-server"})
        for crate, it in components.items():
            self.assertEqual(locked[crate], it["hashes"][0]["content"], crate)
            self.assertTrue(it["licenses"][0]["expression"], crate)
        with open(kit.SERVER, "rb") as file:
            ours = self.image.bill["metadata"]["component"]
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), ours["hashes"][0]["content"])

    def test_a_program_with_libraries_is_refused(self):
        said = kit.run(sys.executable, os.path.join(kit.DEPLOY, "image", "image.py"), "/bin/true", NAME, "/dev/null", fails=True)
        self.assertIn("linked to libraries", said)


class Unpacked(unittest.TestCase):
    """The image in runc, with the configuration that containerd makes from a manifest."""

    MOUNTED = "Corefile"  # the name of the Corefile in /etc/coredns
    COREFILE = ".:53 {\n    bind 127.0.0.1\n    whoami\n}\n"

    def setUp(self):
        self.bundle = self.enterContext(tempfile.TemporaryDirectory())
        layer = Image(build(self.bundle)).layer
        self.root = os.path.join(self.bundle, "rootfs")
        for folder in ("rootfs", "conf"):
            os.mkdir(os.path.join(self.bundle, folder))
        # Mount points that a runtime makes in its writable layer.
        for folder in ("proc", "dev", "etc/coredns"):
            os.makedirs(os.path.join(self.root, folder))
        subprocess.run(["tar", "-x", "--xattrs", "--xattrs-include=*", "-C", self.root], input=layer, check=True)
        with open(os.path.join(self.bundle, "conf", self.MOUNTED), "w") as file:
            file.write(self.COREFILE)

    def run_container(self, container, uid, program, name, env=()):
        """Returns the process of runc, and the file that will have our process id."""
        context = container["securityContext"]
        self.assertEqual(["ALL"], context["capabilities"]["drop"])
        added = ["CAP_" + name for name in context["capabilities"]["add"]]
        mounts = [("/proc", "proc", "proc", []), ("/dev", "tmpfs", "tmpfs", ["nosuid", "mode=755"]),
                  ("/etc/coredns", "bind", os.path.join(self.bundle, "conf"), ["bind", "ro"])]
        with open(os.path.join(self.bundle, "config.json"), "w") as file:
            json.dump({
                "ociVersion": "1.0.2",
                "process": {
                    "user": {"uid": uid, "gid": uid}, "cwd": "/", "env": ["PATH=/usr/bin", *env],
                    "args": [program, *container["args"]],
                    "noNewPrivileges": not context["allowPrivilegeEscalation"],
                    "capabilities": {"bounding": added, "effective": added, "permitted": added},
                },
                "root": {"path": "rootfs", "readonly": context["readOnlyRootFilesystem"]},
                "mounts": [dict(zip(("destination", "type", "source", "options"), mount)) for mount in mounts],
                # Its own network, in which ports below 1024 need a right.
                "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "mount", "ipc", "uts")]},
            }, file)
        state = os.path.join(self.bundle, "state")
        pid_file = os.path.join(self.bundle, "pid")
        process = subprocess.Popen(["runc", "--root", state, "run", "--bundle", self.bundle, "--pid-file", pid_file, name],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)
        return process, pid_file

    def ask(self, process, pid_file, server="127.0.0.1"):
        """Runs dig inside the container's network, once the server answers."""
        for _ in range(300):
            with contextlib.suppress(OSError, ValueError):
                with open(pid_file) as file:
                    pid = int(file.read())
                with open(f"/proc/{pid}/net/udp") as file:
                    if ":0035 " in file.read():
                        return kit.run("nsenter", "-t", str(pid), "-n", "dig", "+tries=1", "+timeout=10", f"@{server}", "any.test")
            if process.poll() is not None:
                break
            time.sleep(0.1)
        process.terminate()
        raise AssertionError("it does not listen: " + process.communicate()[0])


class Container(Unpacked):
    """With the settings of the Deployment."""

    def start(self, uid=65532, program="/coredns", name="signpost-test"):
        [container] = kit.rendered("kubeadm")["Deployment", "coredns"]["spec"]["template"]["spec"]["containers"]
        return self.run_container(container, uid, program, name)

    def test_port_53_without_root(self):
        for uid in (65532, 65534, 0):
            with self.subTest(uid):
                process, pid_file = self.start(uid, name=f"signpost-test-{uid}")
                self.assertIn("status: NOERROR", self.ask(process, pid_file))
                process.terminate()
                said, _ = process.communicate(timeout=60)
                self.assertEqual(0, process.returncode, said)
                os.remove(pid_file)

    def test_command_coredns(self):
        self.assertIn("status: NOERROR", self.ask(*self.start(program="coredns")))

    def test_without_the_file_capability_it_says_what_to_do(self):
        program = os.path.join(self.root, "coredns")
        os.removexattr(program, "security.capability")
        process, _ = self.start()
        said, _ = process.communicate(timeout=60)
        self.assertNotEqual(0, process.returncode)
        self.assertIn("need the capability NET_BIND_SERVICE", said)

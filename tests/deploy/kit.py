"""What the tests of deploy/ share: paths, ways to run programs, and a server to ask."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import dns.message
import dns.query
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPLOY = os.path.join(ROOT, "deploy")
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")))
PEERS = os.path.join(TARGET, "peers")
SERVER = os.path.abspath(os.environ.get("SERVER", os.path.join(TARGET, "release", "signpost")))
OVERLAYS = sorted(os.listdir(os.path.join(DEPLOY, "overlays")))
# The overlays of the cluster's DNS, without the cache before it.
SERVERS = [overlay for overlay in OVERLAYS if overlay != "nodelocal"]
# An address that the API server of the tests may give to the cluster's DNS.
DNS_IP = "10.96.0.10"


def run(*command, text_in=None, fails=False):
    """Runs a program; returns its output on both streams. `fails`: it has to fail."""
    done = subprocess.run(command, input=text_in, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def kubectl(*arguments, **more):
    return run(os.path.join(PEERS, "kubectl"), *arguments, **more)


def get(kind, name):
    return json.loads(kubectl("-n", "kube-system", "get", kind, name, "-o", "json"))


def objects(text):
    """Returns the objects of YAML text by (kind, name)."""
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def rendered(overlay):
    return objects(kubectl("kustomize", os.path.join(DEPLOY, "overlays", overlay)))


def text_of(found):
    return yaml.safe_dump_all(found.values())


# Where the pods keep the file of `snapshot`.
SNAPSHOTS = "/var/lib/signpost"


def check_snapshot(test, pod, volume="emptyDir"):
    """Checks that a pod may write the file of `snapshot`, and where it is kept."""
    [container] = pod["containers"]
    [mount] = [it for it in container["volumeMounts"] if it["mountPath"] == SNAPSHOTS]
    test.assertFalse(mount.get("readOnly"))
    [kept] = [it for it in pod["volumes"] if it["name"] == mount["name"]]
    test.assertEqual({"name", volume}, set(kept))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A Signpost with a Corefile in which PORT, HEALTH, READY and METRICS stand for ports."""

    def __init__(self, corefile):
        self.ports = {name: free_port() for name in ("PORT", "HEALTH", "READY", "METRICS")}
        for name, port in self.ports.items():
            corefile = corefile.replace(name, str(port))
        self.log = tempfile.TemporaryFile("w+")
        self.file = tempfile.NamedTemporaryFile("w", suffix=".Corefile")
        self.file.write(corefile)
        self.file.flush()
        self.process = subprocess.Popen([SERVER, "-conf", self.file.name], stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.file.close()
        self.log.close()

    def page(self, port, path):
        """Returns (status, body), or (0, why) while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def until(self, what, seconds=60):
        """Waits until `what()` is true; the limit only ends a hang."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"it did not come to pass; the server said:\n{self.said()[-3000:]}")

    def until_ready(self):
        self.until(lambda: self.page("READY", "/ready")[0] == 200)

    def ask(self, name, kind="A", tcp=False, **edns):
        query = dns.message.make_query(name, kind, **edns)
        by = dns.query.tcp if tcp else dns.query.udp
        return by(query, "127.0.0.1", port=self.ports["PORT"], timeout=10)


@contextlib.contextmanager
def account(name):
    """Writes a kubeconfig for a service account of kube-system, as a pod would have it."""
    token = kubectl("-n", "kube-system", "create", "token", name).strip()
    cluster = {"server": os.environ["KUBE_API"], "certificate-authority": os.environ["KUBE_CA"]}
    with kubeconfig(cluster, {"token": token}) as file:
        yield file


@contextlib.contextmanager
def kubeconfig(cluster, user):
    with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
        yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}], "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }, file)
        file.flush()
        yield file.name

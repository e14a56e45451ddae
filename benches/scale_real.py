"""What scale.py gives with a real API server: start, memory, and the time from a PATCH to the
changed answer, with a tenth of its set.

    scale_real.py [SERVICES]        called by scale-real.sh

Each Service has one EndpointSlice with 18 endpoints. Each server starts three times; then 200
slices are patched, one after the other, with 20 ms in between: the clock starts when the PATCH is
sent and ends when an answer has the new address, so it includes the time of the API server and of
etcd, which is listed too. Signpost and CoreDNS in turn. Prints a table.
"""
import http.client, ipaddress, json, os, socket, ssl, statistics, struct, sys, time, urllib.parse

import scale

ENDPOINTS, NAMESPACE = 18, "bench"


class Api:
    def __init__(self):
        self.url = os.environ["KUBE_API"]
        context = ssl.create_default_context(cafile=os.environ["KUBE_CA"])
        context.load_cert_chain(os.environ["KUBE_CERT"], os.environ["KUBE_KEY"])
        parts = urllib.parse.urlsplit(self.url)
        self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
        self.tls = f"tls {os.environ['KUBE_CERT']} {os.environ['KUBE_KEY']} {os.environ['KUBE_CA']}"

    def call(self, method, path, body, kind="application/json"):
        self.connection.request(method, path, json.dumps(body), {"Content-Type": kind})
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:300]}")
        return json.loads(text)

    def form(self, accepted):
        """Returns the format of lists and watches for a client that accepts these formats."""
        forms = set()
        for query in ("limit=1", "watch=true&timeoutSeconds=1"):
            self.connection.request("GET", f"/api/v1/services?{query}", headers={"Accept": accepted})
            reply = self.connection.getresponse()
            reply.read()
            forms.add(reply.getheader("Content-Type"))
        return " and ".join(sorted(forms))


def address(service, endpoint):
    return str(ipaddress.ip_address("10.128.0.0") + service * ENDPOINTS + endpoint)


def endpoints(service, first):
    addresses = [first, *(address(service, n) for n in range(1, ENDPOINTS))]
    return [{"addresses": [a], "conditions": {"ready": True}, "nodeName": f"node-{n}",
             "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"web-{service}-{n}"}} for n, a in enumerate(addresses)]


def fill(api, count):
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for n in range(count):
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
        # Every second one is headless, so a change of its slice changes its answer.
        spec = {"ports": ports, "selector": {"app": f"web-{n}"}, **({"clusterIP": "None"} if n % 2 else {})}
        api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/services", {"metadata": {"name": f"web-{n}"}, "spec": spec})
        api.call("POST", f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", {
            "metadata": {"name": f"web-{n}-x", "labels": {"kubernetes.io/service-name": f"web-{n}"}},
            "addressType": "IPv4", "endpoints": endpoints(n, address(n, 0)), "ports": ports})


def ask(sock, service):
    name = f"web-{service}.{NAMESPACE}.svc.cluster.local"
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    sock.send(struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
    return sock.recv(4096)


def patches(api, child, headless, turn):
    """Returns for each change the seconds until the answer shows it, and until the API server has
    answered."""
    shown, stored = [], []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", child.port))
        sock.settimeout(1)
        for n in range(200):
            service = headless[n * 31 % len(headless)]
            fresh = str(ipaddress.ip_address("10.160.0.0") + turn * 1000 + n)
            wanted = socket.inet_aton(fresh)
            time.sleep(0.02)
            path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/web-{service}-x"
            began = time.perf_counter()
            api.call("PATCH", path, {"endpoints": endpoints(service, fresh)}, "application/merge-patch+json")
            stored.append(time.perf_counter() - began)
            while wanted not in ask(sock, service):
                if time.perf_counter() - began > 40:
                    raise RuntimeError("a change was never shown")
                time.sleep(0.00002)
            shown.append(time.perf_counter() - began)
    return shown, stored


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 820
    api = Api()
    fill(api, count)
    print(f"What is accepted is answered in {api.form('application/vnd.kubernetes.protobuf,application/json')}.")
    headless = [n for n in range(count) if n % 2]
    last = (f"web-{headless[-1]}.{NAMESPACE}.svc.cluster.local", address(headless[-1], ENDPOINTS - 1))
    figures = {}
    for turn, name in enumerate(("signpost", "coredns")):
        starts = []
        for _ in range(3):
            with scale.server(name, api.url, tls=api.tls) as child:
                starts.append(scale.first_answer(child, *last))
        with scale.server(name, api.url, tls=api.tls) as child:
            scale.first_answer(child, *last)
            time.sleep(2)
            resident = scale.status(child, "VmRSS")
            shown, stored = patches(api, child, headless, turn)
        figures[name] = {"starts": starts, "resident": resident, "shown": shown, "stored": stored}
    milli = lambda values, share: f"{scale.percentile(values, share) * 1e3:.1f}"
    rows = [("exec to first answer, of the last Service, ms", lambda f: f"{statistics.median(f['starts']) * 1e3:.0f}"),
            ("resident, MB", lambda f: f"{f['resident']:.1f}"),
            ("PATCH to the changed answer: p50, p99, ms", lambda f: f"{milli(f['shown'], 0.5)}, {milli(f['shown'], 0.99)}"),
            ("PATCH to the API server's own reply: p50, p99, ms", lambda f: f"{milli(f['stored'], 0.5)}, {milli(f['stored'], 0.99)}"),
            ("answers that were right by then", lambda f: f"{sum(a - b < 0.0005 for a, b in zip(f['shown'], f['stored']))} of {len(f['shown'])}")]
    print(f"{count} Services, {count} EndpointSlices, {count * ENDPOINTS} endpoints in a real kube-apiserver, over TLS\n")
    print("| figure | Signpost | CoreDNS |\n|---|---|---|")
    for title, show in rows:
        print(f"| {title} | {show(figures['signpost'])} | {show(figures['coredns'])} |")


main()

"""The configuration of each server: the same names and addresses for all of them."""
import json

from rows import ENDPOINTS, HEADLESS, PTR, SERVICE, SERVICE_ADDRESS, SRV, EXTERNAL, hostnames


#----------- The cluster and what lies outside of it -------------------------

def objects():
    """Returns the objects behind the questions, as the API server takes them."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}

    def service(name, ip, port):
        spec = {"clusterIP": ip, "clusterIPs": [ip], "selector": {"app": name}, "ports": [port]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "bench"}, "spec": spec}

    sql = {"name": "sql", "protocol": "TCP", "port": 5432}
    endpoints = [{"addresses": [address], "hostname": host, "conditions": {"ready": True}} for host, address in hostnames()]
    meta = {"name": "db-1", "namespace": "bench", "labels": {"kubernetes.io/service-name": "db"}}
    slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
              "endpoints": endpoints, "ports": [sql]}
    http = {"name": "http", "protocol": "TCP", "port": 80}
    return [namespace, service("web", SERVICE_ADDRESS, http), service("db", "None", sql), slice_]


def upstream():
    """For tests/conformance/tools/fakeupstream.py: one name exists; all others do not."""
    soa = "SOA ns.example.com. hostmaster.example.com. 1 7200 1800 86400 300"
    records = [("A", "192.0.2.1"), ("AAAA", "2001:db8::1")]
    rrsets = [{"name": EXTERNAL + ".", "type": kind, "records": [f"{EXTERNAL}. 300 IN {kind} {data}"]} for kind, data in records]
    return json.dumps({"rrsets": rrsets, "soa": {".": f". 300 IN {soa}"}})


#----------- Corefiles -------------------------------------------------------

def corefile(kind, template, port, free_port, api, upstream_port, pki):
    """Returns the Corefile that kubeadm writes (`template`), or a variant of it."""
    if kind == "forward":
        return f".:{port} {{\n    bind 127.0.0.1\n    forward . 127.0.0.1:{upstream_port}\n}}\n"
    values = {"DNS_PORT": port, "HEALTH_PORT": free_port(), "READY_PORT": free_port(), "METRICS_PORT": free_port(),
              "UPSTREAM": f"127.0.0.1:{upstream_port}", "KUBE_API": api["KUBE_API"],
              "KUBE_TLS": "tls {KUBE_CERT} {KUBE_KEY} {KUBE_CA}".format(**api)}
    text = template
    for name, value in values.items():
        text = text.replace(f"{{${name}}}", str(value))
    if kind in ("cache", "tls"):
        at, end = text.index("cache 30"), text.index("    loop")
        text = text[:at] + "cache 30\n" + text[end:]
    if kind == "tls":
        text = text.replace(f".:{port}", f"tls://.:{port}").replace("    errors\n", f"    errors\n    tls {pki}/server.crt {pki}/server.key\n")
    if kind == "any":
        text = text.replace("    bind 127.0.0.1\n", "")
    if kind == "log":
        text = text.replace("    errors\n", "    errors\n    log\n")
    return text


#----------- Others ----------------------------------------------------------

def zones():
    """Returns the zone files of the cluster and of its addresses, by zone."""
    head = "@ 30 IN SOA ns.dns.{0}. hostmaster.{0}. 1 7200 1800 86400 30\n@ 30 IN NS ns.dns.cluster.local.\n"
    cluster = [f"{SERVICE}. 30 IN A {SERVICE_ADDRESS}", "ns.dns.cluster.local. 30 IN A 10.96.0.10"]
    for host, address in hostnames():
        cluster += [f"{HEADLESS}. 30 IN A {address}", f"{host}.{HEADLESS}. 30 IN A {address}",
                    f"{SRV}. 30 IN SRV 0 {100 // ENDPOINTS} 5432 {host}.{HEADLESS}."]
    reverse = [f"{PTR}. 30 IN PTR {SERVICE}."]
    return {zone: head.format(zone) + "\n".join(lines) + "\n" for zone, lines in (("cluster.local", cluster), ("96.10.in-addr.arpa", reverse))}


def nsd(port, work, **_):
    text = (f'server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: ""\n  zonesdir: "{work}"\n  database: ""\n'
            f'  pidfile: "{work}/nsd.pid"\n  xfrdfile: "{work}/xfrd.state"\n  zonelistfile: "{work}/zone.list"\n  rrl-ratelimit: 0\n'
            "remote-control:\n  control-enable: no\n")
    return text + "".join(f'zone:\n  name: "{zone}"\n  zonefile: "{zone}.zone"\n' for zone in zones())


def knot(port, work, **_):
    text = (f'server:\n    rundir: "{work}"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n'
            f'database:\n    storage: "{work}"\nlog:\n  - target: stderr\n    any: warning\n'
            f'template:\n  - id: default\n    storage: "{work}"\n    file: "%s.zone"\n    zonefile-sync: -1\n    journal-content: none\nzone:\n')
    return text + "".join(f"  - domain: {zone}\n" for zone in zones())


def unbound(port, work, upstream_port, pki, transport, **_):
    text = (f'server:\n    interface: 127.0.0.1@{port}\n    num-threads: 1\n    chroot: ""\n    username: ""\n    directory: "{work}"\n    pidfile: ""\n'
            '    use-syslog: no\n    do-daemonize: no\n    do-not-query-localhost: no\n    module-config: "iterator"\n'
            "    outgoing-range: 4096\n    num-queries-per-thread: 2048\n    incoming-num-tcp: 100\n")
    if transport == "tls":
        text += f'    tls-port: {port}\n    tls-service-key: "{pki}/server.key"\n    tls-service-pem: "{pki}/server.crt"\n'
    for zone, lines in zones().items():
        text += f"    local-zone: {zone}. static\n"
        for line in lines.splitlines():
            text += "    local-data: '" + line.replace("@", zone + ".", 1) + "'\n"
    return text + f'remote-control:\n    control-enable: no\nforward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{upstream_port}\n'


def dnsmasq(port, upstream_port, **_):
    lines = ["no-resolv", "no-hosts", "no-daemon", "bind-interfaces", "listen-address=127.0.0.1", f"port={port}", "user=root", "cache-size=10000",
             "edns-packet-max=1232", "dns-forward-max=1000", "local=/cluster.local/", f"server=127.0.0.1#{upstream_port}",
             f"host-record={SERVICE},{SERVICE_ADDRESS}"]
    lines += [f"host-record={HEADLESS},{address}" for _, address in hostnames()]
    return "\n".join(lines) + "\n"


def dnsdist(port, upstream_port, corefile_kind, **_):
    text = f'setLocal("127.0.0.1:{port}")\nnewServer({{address="127.0.0.1:{upstream_port}", healthCheckMode="up"}})\nsetSecurityPollSuffix("")\n'
    # A cache before names that are never repeated would only fill up.
    return text if corefile_kind == "forward" else text + 'getPool(""):setCache(newPacketCache(10000))\n'


COMMANDS = {
    "nsd": (nsd, ["nsd", "-d", "-c", "{config}"]),
    "knot": (knot, ["knotd", "-c", "{config}"]),
    "unbound": (unbound, ["unbound", "-d", "-c", "{config}"]),
    "dnsmasq": (dnsmasq, ["dnsmasq", "-C", "{config}"]),
    "dnsdist": (dnsdist, ["dnsdist", "--supervised", "--disable-syslog", "-C", "{config}"]),
}

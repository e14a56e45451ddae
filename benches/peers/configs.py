"""The configuration of each server: the same names and addresses for all of them."""

#----------- Corefiles -------------------------------------------------------

def corefile(kind, template, port, free_port, api, upstream, pki):
    """Returns the Corefile that kubeadm writes (`template`), or a variant of it; `api` and
    `upstream` are addresses with ports."""
    if kind == "forward":
        return f".:{port} {{\n    bind 127.0.0.1\n    forward . {upstream}\n}}\n"
    values = {"DNS_PORT": port, "HEALTH_PORT": free_port(), "READY_PORT": free_port(), "METRICS_PORT": free_port(),
              "UPSTREAM": upstream, "KUBE_API": f"http://{api}", "KUBE_TLS": ""}
    text = template
    for name, value in values.items():
        text = text.replace(f"{{${name}}}", str(value))
    if kind == "bare":
        kubernetes = text[text.index("    kubernetes "):text.index("    prometheus ")]
        return f".:{port} {{\n    bind 127.0.0.1\n    errors\n{kubernetes}}}\n"
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

ZONES = ("cluster.local", "10.in-addr.arpa")


def zones(records):
    """Returns the lines of the cluster's zone and of that of its addresses: `records` with what a
    zone needs."""
    for zone in ZONES:
        head = [("@", "SOA", f"ns.dns.{zone}. hostmaster.{zone}. 1 7200 1800 86400 30"), ("@", "NS", "ns.dns.cluster.local.")]
        if zone == "cluster.local":
            head.append(("ns.dns.cluster.local.", "A", "10.96.0.10"))
        inside = ((name + ".", kind, data) for name, kind, data in records if name.endswith(zone))
        yield zone, [f"{name} 30 IN {kind} {data}" for name, kind, data in (*head, *inside)]


def nsd(port, work, **_):
    text = (f'server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: ""\n  zonesdir: "{work}"\n  database: ""\n'
            f'  pidfile: "{work}/nsd.pid"\n  xfrdfile: "{work}/xfrd.state"\n  zonelistfile: "{work}/zone.list"\n  rrl-ratelimit: 0\n'
            "remote-control:\n  control-enable: no\n")
    return text + "".join(f'zone:\n  name: "{zone}"\n  zonefile: "{zone}.zone"\n' for zone in ZONES)


def knot(port, work, **_):
    text = (f'server:\n    rundir: "{work}"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n'
            f'database:\n    storage: "{work}"\nlog:\n  - target: stderr\n    any: warning\n'
            f'template:\n  - id: default\n    storage: "{work}"\n    file: "%s.zone"\n    zonefile-sync: -1\n    journal-content: none\nzone:\n')
    return text + "".join(f"  - domain: {zone}\n" for zone in ZONES)


def unbound(port, work, records, upstream, pki, transport, **_):
    text = (f'server:\n    interface: 127.0.0.1@{port}\n    num-threads: 1\n    chroot: ""\n    username: ""\n    directory: "{work}"\n    pidfile: ""\n'
            '    use-syslog: no\n    do-daemonize: no\n    do-not-query-localhost: no\n    module-config: "iterator"\n'
            "    outgoing-range: 4096\n    num-queries-per-thread: 2048\n    incoming-num-tcp: 100\n")
    if transport == "tls":
        text += f'    tls-port: {port}\n    tls-service-key: "{pki}/server.key"\n    tls-service-pem: "{pki}/server.crt"\n'
    for zone, lines in zones(records):
        text += f"    local-zone: {zone}. static\n"
        text += "".join("    local-data: '" + line.replace("@", zone + ".", 1) + "'\n" for line in lines)
    return text + f'remote-control:\n    control-enable: no\nforward-zone:\n    name: "."\n    forward-addr: {upstream.replace(":", "@")}\n'


def dnsmasq(port, records, upstream, **_):
    lines = ["no-resolv", "no-hosts", "no-daemon", "bind-interfaces", "listen-address=127.0.0.1", f"port={port}", "user=root", "cache-size=10000",
             "edns-packet-max=1232", "dns-forward-max=1000", "local=/cluster.local/", f"server={upstream.replace(':', '#')}"]
    lines += [f"host-record={name},{data}" for name, kind, data in records if kind == "A"]
    return "\n".join(lines) + "\n"


def dnsdist(port, upstream, kind, **_):
    text = f'setLocal("127.0.0.1:{port}")\nnewServer({{address="{upstream}", healthCheckMode="up"}})\nsetSecurityPollSuffix("")\n'
    # A cache before names that are never repeated would only fill up.
    return text if kind == "new" else text + 'getPool(""):setCache(newPacketCache(10000))\n'


COMMANDS = {
    "nsd": (nsd, ["nsd", "-d", "-c", "{config}"]),
    "knot": (knot, ["knotd", "-c", "{config}"]),
    "unbound": (unbound, ["unbound", "-d", "-c", "{config}"]),
    "dnsmasq": (dnsmasq, ["dnsmasq", "-C", "{config}"]),
    "dnsdist": (dnsdist, ["dnsdist", "--supervised", "--disable-syslog", "-C", "{config}"]),
}

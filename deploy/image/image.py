#!/usr/bin/env python3
"""Makes an OCI image of a static Signpost, without a container engine.

    image.py PROGRAM NAME:TAG OUT.tar [coredns|node-cache]

OUT.tar is an OCI image layout: `ctr images import`, `podman load`, `docker load` (25 and later), `skopeo copy
oci-archive:OUT.tar`, and k3s's folder of images read it. Beside it stands OUT.cdx.json, the bill of materials.

What is in it decides every byte: files have one owner and one time (that of the last commit, or SOURCE_DATE_EPOCH),
and the layer is not compressed, so that the digest does not depend on a compressor.

In the image: the program as /coredns, where manifests for CoreDNS look for it, with the file capability to bind port
53 without being root; /usr/bin/coredns for manifests that say `command: [coredns]`, /node-cache for those of NodeLocal
DNSCache; the certificates that upstreams over TLS are checked with; the licence and the bill of materials. No shell,
nothing to write to, user 65532.

The last argument names whose place the image takes where a manifest says neither command nor user. The image of
node-cache runs as root, because only root is given NET_ADMIN by a manifest. Nothing else is different: one layer for both.
"""

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile

import sbom

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
USER = 65532  # a number: the kubelet cannot check whether a name is root (runAsNonRoot)
ROLES = {"coredns": f"{USER}:{USER}", "node-cache": "0:0"}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
MEDIA = "application/vnd.oci.image"

# struct vfs_cap_data of the kernel, revision 2, effective, with CAP_NET_BIND_SERVICE (10)
# permitted: `setcap cap_net_bind_service=+ep`. None of the octets is above 127, so it is text for
# tarfile.
BIND_SERVICE = "\x01\0\0\x02" + "\0\x04\0\0" + "\0" * 12


def main():
    program, name, out, role = (sys.argv[1:] + ["coredns"])[:4] if 4 <= len(sys.argv) <= 5 else [""] * 4
    if ":" not in name or role not in ROLES:
        sys.exit(__doc__.strip())
    with open(program, "rb") as file:
        binary = file.read()
    if is_dynamic(binary):
        sys.exit(f"image.py: {program} is linked to libraries that the image does not have: `just release` makes a static one")
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))
    bill = sbom.bill(ROOT, binary, now)
    layer = layer_of(binary, bill, now)
    blobs, top = describe(layer, name, role, now)
    write(out, blobs, top, now)
    with open(out.removesuffix(".tar") + ".cdx.json", "wb") as file:
        file.write(bill)
    print(f"{name} {top['digest']} {len(layer) / 2**20:.1f} MiB {out}")


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def is_dynamic(binary):
    """Whether an ELF file asks for an interpreter (a PT_INTERP among its program headers)."""
    if binary[:5] != b"\x7fELF\x02":
        sys.exit("image.py: not a 64-bit ELF program")
    at, size, count = (int.from_bytes(binary[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
    return any(int.from_bytes(binary[at + i * size : at + i * size + 4], "little") == 3 for i in range(count))


# ----------- the layer ---


def layer_of(binary, bill, now):
    with open(CERTIFICATES, "rb") as file:
        certificates = file.read()
    with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
        licence = file.read()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, now, "coredns", binary, mode=0o755, pax={"SCHILY.xattr.security.capability": BIND_SERVICE})
        add(tar, now, "etc/passwd", f"root:x:0:0:root:/:\nnonroot:x:{USER}:{USER}:nonroot:/:\n".encode())
        add(tar, now, "etc/group", f"root:x:0:\nnonroot:x:{USER}:\n".encode())
        add(tar, now, CERTIFICATES[1:], certificates)
        add(tar, now, "node-cache", link="/coredns")
        add(tar, now, "usr/bin/coredns", link="/coredns")
        add(tar, now, "usr/bin/signpost", link="/coredns")
        add(tar, now, "usr/share/doc/signpost/LICENSE", licence)
        add(tar, now, "usr/share/sbom/signpost.cdx.json", bill)
    return buffer.getvalue()


def add(tar, now, path, content=b"", mode=0o644, link=None, pax=None):
    """Adds a file or a symbolic link, and the folders above it that are not there yet."""
    above = os.path.dirname(path)
    if above and above not in tar.getnames():
        add(tar, now, above, content=None)
    entry = tarfile.TarInfo(path)
    entry.mtime, entry.pax_headers = now, pax or {}
    if content is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    elif link:
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, link, 0o777
    else:
        entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content or b""))


# ----------- what describes it ---


def describe(layer, name, role, now):
    """The blobs of the image, and the entry of index.json that leads to them."""
    tag = name.rpartition(":")[2]
    version, created = sbom.version(ROOT), sbom.timestamp(now)
    labels = {
        "org.opencontainers.image.title": "signpost",
        "org.opencontainers.image.description": "DNS for Kubernetes in CoreDNS's place",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    blobs = {digest(layer): layer}

    def put(document):
        text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
        blobs[digest(text)] = text
        return {"digest": digest(text), "size": len(text)}

    config = put({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": created,
        "config": {
            "User": ROLES[role],
            "WorkingDir": "/",
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": ["/" + role],
            "ExposedPorts": {"53/udp": {}, "53/tcp": {}},
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": created, "created_by": "deploy/image/image.py"}],
    })
    manifest = put({
        "schemaVersion": 2,
        "mediaType": MEDIA + ".manifest.v1+json",
        "config": {"mediaType": MEDIA + ".config.v1+json", **config},
        "layers": [{"mediaType": MEDIA + ".layer.v1.tar", "digest": digest(layer), "size": len(layer)}],
        "annotations": labels,
    })
    # containerd reads the whole name, podman and skopeo the tag.
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    return blobs, {"mediaType": MEDIA + ".manifest.v1+json", **manifest, "annotations": names}


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write(out, blobs, top, now):
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    index = {"schemaVersion": 2, "mediaType": MEDIA + ".index.v1+json", "manifests": [top]}
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, now, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, now, "index.json", json.dumps(index, sort_keys=True).encode())
        for name, content in sorted(blobs.items()):
            add(tar, now, "blobs/" + name.replace(":", "/"), content)


if __name__ == "__main__":
    main()

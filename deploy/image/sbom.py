"""The bill of materials: every crate that is in the program, as CycloneDX 1.6, from Cargo's own account."""

import datetime
import hashlib
import json
import os
import subprocess
import tomllib


def bill(root, binary, now):
    """CycloneDX as JSON; `binary` is the program, `now` the time it says it was made, in seconds since 1970."""
    told = json.loads(cargo(root, "metadata", "--locked", "--format-version=1", "--filter-platform", host(root)))
    packages = {package["id"]: package for package in told["packages"]}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    ours = told["resolve"]["root"]
    used, waiting = set(), [ours]
    while waiting:
        package = waiting.pop()
        if package not in used:
            used.add(package)
            waiting += linked(nodes[package])
    sums = checksums(root)
    main = component(packages[ours], None)
    main.update({"type": "application", "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}]})
    return json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": timestamp(now), "component": main},
        "components": sorted((component(packages[p], sums) for p in used - {ours}), key=lambda c: c["bom-ref"]),
        "dependencies": sorted(
            ({"ref": ref(packages[p]), "dependsOn": sorted({ref(packages[d]) for d in linked(nodes[p])})} for p in used),
            key=lambda d: d["ref"],
        ),
    }, separators=(",", ":")).encode()


def linked(node):
    """What a package needs to be built or to run, not to be tested. `cfg(any())` is never true: it only ties versions."""
    return [d["pkg"] for d in node["deps"] if any(k["kind"] != "dev" and k["target"] != "cfg(any())" for k in d["dep_kinds"])]


def component(package, sums):
    it = {"type": "library", "name": package["name"], "version": package["version"], "bom-ref": ref(package)}
    if package["license"]:
        it["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if sums:
        it["purl"] = ref(package)
        it["hashes"] = [{"alg": "SHA-256", "content": sums[package["name"], package["version"]]}]
    return it


def ref(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums(root):
    with open(os.path.join(root, "Cargo.lock"), "rb") as file:
        return {(p["name"], p["version"]): p.get("checksum", "") for p in tomllib.load(file)["package"]}


def version(root):
    """Signpost's own version."""
    with open(os.path.join(root, "Cargo.toml"), "rb") as file:
        return tomllib.load(file)["package"]["version"]


def timestamp(now):
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def host(root):
    told = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True, cwd=root).stdout
    return next(line.split()[1] for line in told.splitlines() if line.startswith("host:"))


def cargo(root, *arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True, cwd=root).stdout

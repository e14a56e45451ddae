"""The bill of materials: every crate that the program is built from, as CycloneDX 1.6, from Cargo's own account."""

import datetime
import hashlib
import json
import os
import subprocess
import tomllib


def bill(root, binary, now):
    """CycloneDX as JSON; `binary` is the program, `now` the time it says it was made, in seconds since 1970."""
    with open(os.path.join(root, "Cargo.lock"), "rb") as file:
        sums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    crates = sorted(set(built_from(root)))
    [main] = (crate for crate in crates if sums[crate[:2]] is None)  # not from a registry: ourselves
    application = {"type": "application", **component(*main, hashlib.sha256(binary).hexdigest())}
    return json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": timestamp(now), "component": application},
        "components": [{"type": "library", **component(*c, sums[c[:2]])} for c in crates if c is not main],
    }, separators=(",", ":")).encode()


def built_from(root):
    """(name, version, licence) of each crate, without those of tests. `cargo metadata` would have features of tests in it."""
    command = ["cargo", "tree", "--locked", "--edges=normal,build", "--prefix=none", "--no-dedupe", "--format={p}\t{l}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    for line in told.splitlines():
        package, licence = line.split("\t")
        name, number = package.split()[:2]
        yield name, number.removeprefix("v"), licence.replace("/", " OR ")


def component(name, number, licence, checksum):
    where = f"pkg:cargo/{name}@{number}"
    hashes = [{"alg": "SHA-256", "content": checksum}]
    return {"name": name, "version": number, "bom-ref": where, "purl": where, "hashes": hashes, "licenses": [{"expression": licence}]}


def version(root):
    """Signpost's own version."""
    with open(os.path.join(root, "Cargo.toml"), "rb") as file:
        return tomllib.load(file)["package"]["version"]


def timestamp(now):
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

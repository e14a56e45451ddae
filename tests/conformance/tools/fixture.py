#!/usr/bin/env python3
"""The objects of the fixture cluster, from cluster/*.yaml and gen_scale.py.  Needs PyYAML.

  fixture.py DIR     writes them as a folder of manifests, as an API server would return them: with status and
                     deletionTimestamp, and with the fields that it adds.  Multi-document YAML, and JSON for the large ones.
"""
import glob
import json
import os
import sys

import yaml

import gen_scale

HERE = os.path.dirname(os.path.abspath(__file__))
CLUSTER = os.path.join(os.path.dirname(HERE), "cluster")
SERVED = {"Namespace", "Service", "EndpointSlice", "Pod", "ServiceImport"}  # what a DNS server reads
BUILT_IN = ("kube-public", "kube-node-lease")  # namespaces that every API server makes and the fixture does not mention


def read(path):
    with open(path) as f:
        return [o for o in yaml.load_all(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if o]


def files():
    """Yields pairs of a file's name and its objects."""
    for path in sorted(glob.glob(f"{CLUSTER}/*.yaml")):
        yield os.path.basename(path), read(path)


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "status": {"phase": "Active"}}


def objects():
    """Returns everything to load, namespaces first, then definitions."""
    everything = [o for _, mine in files() for o in mine] + list(gen_scale.crowd_objects())
    return sorted(everything, key=lambda o: {"Namespace": 0, "CustomResourceDefinition": 1}.get(o["kind"], 2))


def given_back(objects):
    """Returns the objects that a DNS server reads, in the form they have in the API server."""
    for o in objects:
        if o["kind"] == "ServiceImport":  # no controller writes their status
            o = {k: v for k, v in o.items() if k != "status"}
        if o["kind"] in SERVED:
            yield o


def served():
    """Returns what a DNS server gets from an API server with the fixture."""
    return [*given_back(objects()), *map(namespace, BUILT_IN)]


def write(directory):
    os.makedirs(directory, exist_ok=True)
    for name, mine in [*files(), ("99-built-in.yaml", map(namespace, BUILT_IN))]:
        if mine := list(given_back(mine)):
            with open(os.path.join(directory, name), "w") as f:
                yaml.dump_all(mine, f, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    for o in gen_scale.crowd_objects():
        with open(os.path.join(directory, f"99-{o['kind'].lower()}-{o['metadata']['name']}.json"), "w") as f:
            json.dump(o, f)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    write(sys.argv[1])

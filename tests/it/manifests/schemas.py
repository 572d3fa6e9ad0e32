"""Validates manifests against the schemas of Kubernetes, Istio and the Prometheus Operator, and reports unknown fields.

Reads a JSON list of manifests from stdin, and prints a JSON list of problems in the same order, null for none.
"""

import importlib
import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
from kubernetes_validate.utils import SchemaNotFoundError

# The newest Kubernetes that the oldest supported Istio supports, and the newest version.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]
# A kind that the oldest supported Istio does not have.
TRAFFIC_EXTENSION = json.loads((Path(__file__).parent / "trafficextension.json").read_text())


def first_difference(given, known, path=""):
    """Returns the first difference between a document and its parsed form, which lacks unknown fields."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key in given:
            if key not in known:
                return f"{path}.{key} is unknown"
            difference = first_difference(given[key], known[key], f"{path}.{key}")
            if difference:
                return difference
        return None
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        pairs = enumerate(zip(given, known))
        return next(filter(None, (first_difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)), None)
    return None if given == known else f"{path} is read as {known!r}"


def module_of(manifest):
    """Returns the name of the Python module with the model of a manifest, or None if it belongs to Kubernetes."""
    group, _, version = manifest["apiVersion"].partition("/")
    if group.endswith(".istio.io"):
        return f"istio.{group.removesuffix('.istio.io')}.{version}"
    return f"prometheus_operator.{version}" if group == "monitoring.coreos.com" else None


def extension(manifest, name):
    try:
        module = importlib.import_module(f"cloudcoil.models.{name}")
        model = getattr(module, manifest["kind"])
    except (ImportError, AttributeError):
        return f"no schema for {manifest['kind']} of {manifest['apiVersion']}"
    read = model.model_validate(manifest)
    return first_difference(manifest, read.model_dump(mode="json", by_alias=True, exclude_unset=True))


def kubernetes(manifest):
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def problem(manifest):
    try:
        if manifest["kind"] == "TrafficExtension":
            return jsonschema.validate(manifest, TRAFFIC_EXTENSION)
        name = module_of(manifest)
        return extension(manifest, name) if name else kubernetes(manifest)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        return f"{'.'.join(str(step) for step in error.path)}: {error.message}"
    except SchemaNotFoundError as error:
        return error.message
    except ValueError as error:  # what the models raise
        return str(error)


json.dump([problem(manifest) for manifest in json.load(sys.stdin)], sys.stdout)

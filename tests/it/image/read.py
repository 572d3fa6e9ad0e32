"""Reads the artefacts of a release, independently of the code that wrote them.

    read.py layout FOLDER    an OCI layout, as Istio's agent loads a module from it; prints its contents as JSON
    read.py native FOLDER    an OCI layout with an image for each architecture; prints the contents of each as JSON
    read.py sbom FILE        validates a bill of materials against the schema of CycloneDX
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile


def blob(folder, described):
    algorithm, digest = described["digest"].split(":")
    data = (folder / "blobs" / algorithm / digest).read_bytes()
    assert hashlib.new(algorithm, data).hexdigest() == digest, f"{digest} does not match its bytes"
    assert len(data) == described["size"], f"{digest} has {len(data)} bytes"
    return data


def entry(folder):
    """Returns the descriptor of the only name in a layout."""
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    [described] = json.loads((folder / "index.json").read_text())["manifests"]
    return described


def image(folder, described):
    manifest = json.loads(blob(folder, described))
    assert manifest["mediaType"] == described["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    config = json.loads(blob(folder, manifest["config"]))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"

    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip", layer["mediaType"]
    tar = gzip.decompress(blob(folder, layer))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(tar).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = archive.getmembers()
        files = [{"name": it.name, "size": it.size, "mode": it.mode, "mtime": it.mtime} for it in members]
        magic = archive.extractfile(members[0].name).read(4).decode()
    platform = {"architecture": config["architecture"], "os": config["os"]}
    return {"labels": config["config"]["Labels"], "files": files, "magic": magic, "platform": platform}


def named(described):
    return {"digest": described["digest"], "tag": described["annotations"]["org.opencontainers.image.ref.name"]}


def layout(folder):
    described = entry(folder)
    print(json.dumps(named(described) | image(folder, described)))


def native(folder):
    described = entry(folder)
    index = json.loads(blob(folder, described))
    assert index["mediaType"] == described["mediaType"] == "application/vnd.oci.image.index.v1+json"
    images = [image(folder, one) for one in index["manifests"]]
    assert [it["platform"] for it in images] == [it["platform"] for it in index["manifests"]]
    print(json.dumps(named(described) | {"images": images}))


def sbom(file):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    mistake = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read_text())
    assert mistake is None, mistake


{"layout": layout, "native": native, "sbom": sbom}[sys.argv[1]](pathlib.Path(sys.argv[2]))

"""Reads the artefacts of a release, independently of the code that wrote them.

    read.py layout FOLDER    an OCI layout, as Istio's agent loads a module from it; prints its contents as JSON
    read.py native FOLDER    an OCI layout with an image for each architecture; prints the contents of each as JSON
    read.py exporter FOLDER  the same with several layers; prints the configuration and the files of each as JSON
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


def parts(folder, described):
    """Returns the configuration of an image and the tars of its layers."""
    manifest = json.loads(blob(folder, described))
    assert manifest["mediaType"] == described["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    config = json.loads(blob(folder, manifest["config"]))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"

    types = {layer["mediaType"] for layer in manifest["layers"]}
    assert types == {"application/vnd.oci.image.layer.v1.tar+gzip"}, types
    tars = [gzip.decompress(blob(folder, layer)) for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]
    return config, tars


def image(folder, described):
    config, [tar] = parts(folder, described)
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


def of_platforms(folder, image):
    described = entry(folder)
    index = json.loads(blob(folder, described))
    assert index["mediaType"] == described["mediaType"] == "application/vnd.oci.image.index.v1+json"
    images = [image(folder, one) for one in index["manifests"]]
    assert [it["platform"] for it in images] == [it["platform"] for it in index["manifests"]]
    print(json.dumps(named(described) | {"images": images}))


def native(folder):
    of_platforms(folder, image)


def file(archive, it):
    data = archive.extractfile(it).read() if it.isfile() else None
    digest = None if data is None else hashlib.sha256(data).hexdigest()
    return {"sha256": digest, "mode": it.mode, "owner": it.uid}


def program(folder, described):
    config, tars = parts(folder, described)
    files = {}
    for tar in tars:
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            files |= {it.name: file(archive, it) for it in archive.getmembers()}
    platform = {"architecture": config["architecture"], "os": config["os"]}
    return {"config": config["config"], "files": files, "platform": platform}


def exporter(folder):
    of_platforms(folder, program)


def sbom(file):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    mistake = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read_text())
    assert mistake is None, mistake


{"layout": layout, "native": native, "exporter": exporter, "sbom": sbom}[sys.argv[1]](pathlib.Path(sys.argv[2]))

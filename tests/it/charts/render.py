"""Renders and lints a chart with Helm's own library.

Arguments: the chart, a folder or an archive. Reads a JSON list of values from stdin, each a text of YAML as
`helm install --values` reads it, for the release `logtracer` in the namespace `logtracer`. Prints a JSON list in the same
order: `{"files": {name: text}, "lint": [message]}`, or `{"error": text}` if Helm rejects the values.

With `--package FOLDER`, it packs the chart into the folder and prints the path of the archive.
"""

import json
import sys

import helm_python as helm

# Not a finding: an icon is a picture for catalogues of charts.
ICON = "icon is recommended"


def render(chart, path, text):
    try:
        values = helm.values_from_yaml(text)
        files = chart.render(values, name="logtracer", namespace="logtracer")
        report = helm.lint(path, values, strict=True, namespace="logtracer")
    except helm.HelmError as error:
        return {"error": str(error)}
    messages = [f"{it['path']}: {it['error']}" for it in report["messages"] if it["error"] != ICON]
    return {"files": files, "lint": messages + report["errors"]}


path, *package = sys.argv[1:]
if package:
    print(json.dumps(helm.package(path, destination=package[1])))
else:
    with helm.Chart.load(path) as chart:
        json.dump([render(chart, path, text) for text in json.load(sys.stdin)], sys.stdout)

#!/usr/bin/env python3
"""What our binaries are made of, as CycloneDX: sbom/mcp-auth.cdx.json and its like.

    sbom.py [DIRECTORY]

From Cargo.lock by way of `cargo metadata`: every crate that is linked into the binary, for the platform of the images, without what only its build or
its tests need. Run by the Python of the tool `sbom` (scripts/tools.py), which has the library of the CycloneDX project.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
# Package → its binary; what the images hold.
BINARIES = {"auth": "mcp-auth", "mcp-proxy": "mcp-proxy", "mcp-echo": "mcp-echo"}
PLATFORM = "x86_64-unknown-linux-gnu"


def metadata() -> dict:
    done = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", PLATFORM], cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"sbom: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def linked(nodes: dict[str, dict], package: str) -> set[str]:
    """Ids of the package and of everything that is in its binary (a dependency without a kind is a normal one)."""
    found, waiting = set(), [package]
    while waiting:
        identity = waiting.pop()
        if identity not in found:
            found.add(identity)
            waiting += [entry["pkg"] for entry in nodes[identity]["deps"] if any(kind["kind"] is None for kind in entry["dep_kinds"])]
    return found


def component(package: dict, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    name, version = package["name"], package["version"]
    # Crates write MIT/Apache-2.0 where SPDX has OR.
    licence = (package.get("license") or "").replace("/", " OR ")
    url = PackageURL("cargo", name=name, version=version)
    return Component(name=name, version=version, type=kind, purl=url, bom_ref=url.to_string(),
                     licenses=[LicenseFactory().make_from_string(licence)] if licence else [], description=package.get("description"))


def bill(known: dict, name: str, checksums: dict[tuple[str, str], str]) -> Bom:
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    root = next(identity for identity in known["workspace_members"] if packages[identity]["name"] == name)
    inside = linked(nodes, root)
    parts = {identity: component(packages[identity], ComponentType.APPLICATION if identity == root else ComponentType.LIBRARY) for identity in inside}
    for identity, part in parts.items():
        checksum = checksums.get((packages[identity]["name"], packages[identity]["version"]))
        if checksum:
            part.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=checksum))
    made = Bom(components=[part for identity, part in parts.items() if identity != root])
    made.metadata.component = parts[root]
    for identity, part in parts.items():
        made.register_dependency(part, [parts[entry["pkg"]] for entry in nodes[identity]["deps"] if entry["pkg"] in parts])
    return made


def locked() -> dict[tuple[str, str], str]:
    """SHA-256 of each crate's archive, as Cargo.lock pins it."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    return {(package["name"], package["version"]): package["checksum"] for package in packages if "checksum" in package}


def main() -> None:
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "sbom"
    place.mkdir(parents=True, exist_ok=True)
    known, checksums = metadata(), locked()
    for name, binary in BINARIES.items():
        made = bill(known, name, checksums)
        text = JsonV1Dot6(made).output_as_string(indent=2)
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        if wrong:
            sys.exit(f"sbom: {binary}: not valid CycloneDX: {wrong}")
        file = place / f"{binary}.cdx.json"
        file.write_text(text + "\n", encoding="utf-8")
        print(f"sbom: wrote {file} ({len(made.components)} crates)")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The Helm chart: well formed, and the same at the edge as traefik/dynamic.

Ends with a line `chart: N passed, N failed`. Run by the Python of the tool `helm` (scripts/tools.py), which has helm and PyYAML.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from labels import identity_headers

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "mcp-gateway"
HELM = Path(sys.executable).parent / "helm"
VALUES = ["--set", "domain=example.com", "--set", "services.time.image=registry.example.com/mcp-time:1", "--set", "services.time.command={mcp-server-time}",
          "--set", "services.time.replicas=2", "--set", "auth.settings.ALLOWED_GITHUB_USERS=octocat"]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], text=True, capture_output=True, check=False)


def objects() -> list[dict]:
    done = helm("template", "gateway", str(CHART), "--namespace", "mcp", *VALUES)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def named(kind: str, name: str) -> dict:
    return next(entry for entry in objects() if entry["kind"] == kind and entry["metadata"]["name"] == name)


def lint() -> None:
    done = helm("lint", "--strict", str(CHART), *VALUES)
    assert done.returncode == 0, done.stdout + done.stderr


def needs_a_domain() -> None:
    done = helm("template", "gateway", str(CHART))
    assert done.returncode != 0 and "domain is not set" in done.stderr, done.stderr


def every_route_is_guarded() -> None:
    headers = identity_headers()
    for service in ("mcp-fetch", "mcp-time"):
        route = named("IngressRoute", f"gateway-{service}")["spec"]["routes"]
        assert len(route) == 1
        assert [entry["name"] for entry in route[0]["middlewares"]] == ["gateway-mcp-cors", f"gateway-{service}-auth", "gateway-mcp-strip"]
        guard = named("Middleware", f"gateway-{service}-auth")["spec"]["forwardAuth"]
        assert guard == {"address": f"http://gateway-auth.mcp.svc:8000/verify?resource={service}", "trustForwardHeader": False,
                         "authRequestHeaders": ["Authorization"], "authResponseHeaders": headers, "maxResponseBodySize": 65536}, guard


def paths(rule: str) -> set[str]:
    return set(re.findall(r"Path(?:Prefix)?\(`[^`]*`\)", rule))


def same_routes_to_auth() -> None:
    shipped = paths((ROOT / "traefik/dynamic/auth.yml").read_text())
    chart = {path for route in named("IngressRoute", "gateway-auth")["spec"]["routes"] for path in paths(route["match"])}
    assert chart == shipped, f"only in the chart: {chart - shipped}, only in traefik/dynamic/auth.yml: {shipped - chart}"
    assert not any("/verify" in path for path in chart)


def same_cors() -> None:
    text = (ROOT / "traefik/dynamic/middlewares.yml").read_text()
    for name in ("mcp-cors", "auth-cors"):
        made = named("Middleware", f"gateway-{name}")["spec"]["headers"]
        for key in ("accessControlAllowHeaders", "accessControlExposeHeaders", "accessControlAllowMethods"):
            assert f"{key}: [{', '.join(made[key])}]" in text, f"{name}: {key} is {made[key]} in the chart"


def hardened() -> None:
    for entry in objects():
        if entry["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = entry["spec"]["template"]["spec"]
        name = entry["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, f"{name}: {security}"
    assert len([entry for entry in objects() if entry["kind"] == "NetworkPolicy"]) == 3


def selectors_meet() -> None:
    """Every service and every disruption budget selects a pod of the chart."""
    pods = [entry["spec"]["template"]["metadata"]["labels"] for entry in objects() if entry["kind"] in ("Deployment", "StatefulSet")]
    for entry in objects():
        if entry["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            spec = entry["spec"]
            wanted = spec["selector"].get("matchLabels", spec["selector"]) if "selector" in spec else spec["podSelector"]["matchLabels"]
            assert any(wanted.items() <= labels.items() for labels in pods), f"{entry['kind']} {entry['metadata']['name']} selects nothing"


CHECKS = (lint, needs_a_domain, every_route_is_guarded, same_routes_to_auth, same_cors, hardened, selectors_meet)


def main() -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
            print(f"chart: ok {check.__name__}", flush=True)
        except (AssertionError, StopIteration, KeyError) as error:
            failed += 1
            print(f"chart: FAILED {check.__name__}: {error!r}", flush=True)
    print(f"chart: {len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

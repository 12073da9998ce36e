#!/usr/bin/env python3
"""The Helm chart: well formed, and the same at the edge as traefik/dynamic.

Ends with a line `chart: N passed, N failed`. Run by the Python of the tool `helm` (scripts/tools.py), which has helm and PyYAML.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

from labels import identity_headers

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "mcp-gateway"
# A version that many clusters have; every object is one that newer ones have, too.
KUBERNETES = "1.30"
HELM = Path(sys.executable).parent / "helm"
VALUES = ["--set", "domain=example.com", "--set", "services.time.image=registry.example.com/mcp-time:1", "--set", "services.time.command={mcp-server-time}",
          "--set", "services.time.replicas=2", "--set", "auth.settings.ALLOWED_GITHUB_USERS=octocat"]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], text=True, capture_output=True, check=False)


def objects(*values: str) -> list[dict]:
    done = helm("template", "gateway", str(CHART), "--namespace", "mcp", *VALUES, *values)
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


def secret_of_the_provider() -> None:
    for provider, variable in (("github", "GITHUB_CLIENT_SECRET_FILE"), ("oidc", "OIDC_CLIENT_SECRET_FILE"), ("local", None)):
        found = objects("--set", f"auth.settings.IDENTITY_PROVIDER={provider}")
        auth = next(entry for entry in found if entry["kind"] == "Deployment" and entry["metadata"]["name"].endswith("-auth"))
        environment = {entry["name"]: entry.get("value") for entry in auth["spec"]["template"]["spec"]["containers"][0]["env"]}
        secrets = {name: value for name, value in environment.items() if name.endswith("_CLIENT_SECRET_FILE")}
        assert secrets == ({variable: f"/run/secrets/gateway/{provider}_client_secret"} if variable else {}), secrets


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
    assert len([entry for entry in objects() if entry["kind"] == "NetworkPolicy"]) == 4


def selectors_meet() -> None:
    """Every service and every disruption budget selects a pod of the chart."""
    pods = [entry["spec"]["template"]["metadata"]["labels"] for entry in objects() if entry["kind"] in ("Deployment", "StatefulSet")]
    for entry in objects():
        if entry["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            spec = entry["spec"]
            wanted = spec["selector"].get("matchLabels", spec["selector"]) if "selector" in spec else spec["podSelector"]["matchLabels"]
            assert any(wanted.items() <= labels.items() for labels in pods), f"{entry['kind']} {entry['metadata']['name']} selects nothing"


def replicas_find_each_other() -> None:
    """More than one pod: a name for all of them, the right to talk to each other, and one that stays; alone: none of that."""
    def variables(name: str) -> dict[str, str]:
        container = named("Deployment", f"gateway-{name}")["spec"]["template"]["spec"]["containers"][0]
        return {entry["name"]: entry["value"] for entry in container["env"]}

    every = {(entry["kind"], entry["metadata"]["name"]) for entry in objects()}
    assert variables("mcp-time")["REPLICAS"] == "gateway-mcp-time-replicas:3000"
    headless = named("Service", "gateway-mcp-time-replicas")["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True, headless
    pods = named("Deployment", "gateway-mcp-time")["spec"]["template"]["metadata"]["labels"]
    policy = named("NetworkPolicy", "gateway-mcp-time-replicas")["spec"]
    for selector in (headless["selector"], policy["podSelector"]["matchLabels"], policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"],
                     policy["egress"][0]["to"][0]["podSelector"]["matchLabels"]):
        assert selector.items() <= pods.items(), selector
        assert "app.kubernetes.io/name" in selector and "app.kubernetes.io/instance" in selector, selector
    assert named("PodDisruptionBudget", "gateway-mcp-time")["spec"]["minAvailable"] == 1
    assert "REPLICAS" not in variables("mcp-fetch")
    assert not {("Service", "gateway-mcp-fetch-replicas"), ("NetworkPolicy", "gateway-mcp-fetch-replicas"), ("PodDisruptionBudget", "gateway-mcp-fetch")} & every
    pod = named("Deployment", "gateway-mcp-time")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= int(variables("mcp-time")["SHUTDOWN_DRAIN"]) + 25 + 10


def wrong_values_are_refused() -> None:
    for wrong, named_in_error in (("services.time.replicas=0", "replicas"), ("auth.replicas=two", "replicas"), ("services.Time.image=x", "Time"),
                                  ("auth.setings.DOMAIN=x", "setings"), ("domain=https://example.com", "domain")):
        done = helm("template", "gateway", str(CHART), *VALUES, "--set", wrong)
        assert done.returncode != 0 and named_in_error in done.stderr, f"{wrong}: {done.stderr or 'accepted'}"


def objects_are_what_kubernetes_knows() -> None:
    """Traefik's own kinds are checked in the other tests."""
    for entry in objects():
        if entry["apiVersion"].startswith("traefik.io/"):
            continue
        kubernetes_validate.validate(entry, KUBERNETES, strict=True)


CHECKS = (lint, needs_a_domain, every_route_is_guarded, same_routes_to_auth, same_cors, hardened, secret_of_the_provider, selectors_meet, replicas_find_each_other,
          wrong_values_are_refused, objects_are_what_kubernetes_knows)


def main() -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
            print(f"chart: ok {check.__name__}", flush=True)
        except (AssertionError, StopIteration, KeyError, kubernetes_validate.ValidationError) as error:
            failed += 1
            print(f"chart: FAILED {check.__name__}: {error!r}", flush=True)
    print(f"chart: {len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

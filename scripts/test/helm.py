#!/usr/bin/env python3
"""The Helm chart: well formed, and the same at the edge as traefik/dynamic.

Ends with a line `chart: N passed, N failed`. Run by the Python of the tool `helm` (scripts/tools.py), which has helm and PyYAML.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
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


# What the stack's other servers need: a disk, secrets, a browser's memory, HTTP of their own.
MORE = ["--set", "services.notes.image=registry.example.com/mcp-memory:1", "--set", "services.notes.storage=2Gi", "--set", "services.notes.secretName=notes",
        "--set", "services.notes.sharedMemory=256Mi", "--set", "services.own.image=registry.example.com/orders:3", "--set", "services.own.proxy=false",
        "--set", "services.own.replicas=2", "--set", "imagePullSecrets[0].name=registry", "--set", "nodeSelector.pool=mcp", "--set", "tolerations[0].key=mcp",
        "--set", "metrics.podLabels.app=prometheus", "--set", "metrics.namespaceLabels.name=monitoring"]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], text=True, capture_output=True, check=False)


def objects(*values: str) -> list[dict]:
    done = helm("template", "gateway", str(CHART), "--namespace", "mcp", *VALUES, *values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def named(kind: str, name: str, *values: str) -> dict:
    return next(entry for entry in objects(*values) if entry["kind"] == kind and entry["metadata"]["name"] == name)


def pod(name: str, *values: str) -> dict:
    return named("Deployment", f"gateway-{name}", *values)["spec"]["template"]["spec"]


def variables(name: str, *values: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod(name, *values)["containers"][0]["env"]}


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
        environment = variables("auth", "--set", f"auth.settings.IDENTITY_PROVIDER={provider}")
        secrets = {name: value for name, value in environment.items() if name.endswith("_CLIENT_SECRET_FILE")}
        assert secrets == ({variable: f"/run/secrets/gateway/{provider}_client_secret"} if variable else {}), secrets


def paths(rule: str) -> set[str]:
    return set(re.findall(r"Path(?:Prefix)?\(`[^`]*`\)", rule))


def same_routes_to_auth() -> None:
    shipped = paths((ROOT / "traefik/dynamic/auth.yml").read_text())
    chart = {path for route in named("IngressRoute", "gateway-auth")["spec"]["routes"] for path in paths(route["match"])}
    assert chart == shipped, f"only in the chart: {chart - shipped}, only in traefik/dynamic/auth.yml: {shipped - chart}"
    assert not any("/verify" in path for path in chart)


def same_limits() -> None:
    """Each path has the limit that it has in the stack, and the same figures are the default."""
    shipped = yaml.safe_load((ROOT / "traefik/dynamic/auth.yml").read_text().split("  routers:\n", 1)[1])
    wanted = {path: [name for name in router.get("middlewares", []) if name.startswith("limit-")] for router in shipped.values() for path in paths(router["rule"])}
    made = {path: [entry["name"].removeprefix("gateway-") for entry in route.get("middlewares", []) if entry["name"].startswith("gateway-limit-")]
            for route in named("IngressRoute", "gateway-auth")["spec"]["routes"] for path in paths(route["match"])}
    assert made == wanted and any(wanted.values()), f"{made} instead of {wanted}"
    text = (ROOT / "traefik/dynamic/middlewares.yml").read_text()
    for name, variable in (("limit-register", "RATE_LIMIT_REGISTER"), ("limit-sign-in", "RATE_LIMIT_SIGN_IN")):
        limit = named("Middleware", f"gateway-{name}")["spec"]["rateLimit"]
        assert f'env "{variable}" | default "{limit["average"]}"' in text and limit["burst"] == limit["average"] and limit["period"] == "1m", limit


def settings_arrive_as_written() -> None:
    """Also large numbers, which Helm holds as floating point, nought and false; what is empty is left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"auth": {"settings": {"REFRESH_GRACE": 0, "CLIENT_DOCUMENTS": False, "REFRESH_TOKEN_LIFETIME": 2592000, "OIDC_ISSUER": ""}},
                        "services": {"fetch": {"settings": {"MAX_MESSAGE_BYTES": 16777216, "CHILD_WARM_SPARE": True}}}}, file)
        file.flush()
        auth, fetch = (variables(name, "--values", file.name) for name in ("auth", "mcp-fetch"))
    assert (auth["REFRESH_GRACE"], auth["CLIENT_DOCUMENTS"], auth["REFRESH_TOKEN_LIFETIME"]) == ("0", "false", "2592000"), auth
    assert "OIDC_ISSUER" not in auth, auth
    assert (fetch["MAX_MESSAGE_BYTES"], fetch["CHILD_WARM_SPARE"]) == ("16777216", "true"), fetch


def what_other_servers_need() -> None:
    notes, own = pod("mcp-notes", *MORE), pod("mcp-own", *MORE)
    mounts = {entry["mountPath"]: entry["name"] for entry in notes["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/data", "/dev/shm"}, mounts
    claim = named("PersistentVolumeClaim", "gateway-mcp-notes", *MORE)
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} and claim["spec"]["resources"]["requests"]["storage"] == "2Gi", claim
    assert named("Deployment", "gateway-mcp-notes", *MORE)["spec"]["strategy"] == {"type": "Recreate"}
    assert notes["containers"][0]["envFrom"] == [{"secretRef": {"name": "notes"}}]
    assert "env" not in own["containers"][0] or not own["containers"][0]["env"], own
    assert "tcpSocket" in own["containers"][0]["readinessProbe"] and [port["name"] for port in own["containers"][0]["ports"]] == ["http"]
    kinds = {(entry["kind"], entry["metadata"]["name"]) for entry in objects(*MORE)}
    assert ("Service", "gateway-mcp-own-replicas") not in kinds and ("PodDisruptionBudget", "gateway-mcp-own") in kinds
    for name in ("auth", "mcp-fetch", "mcp-notes"):
        found = pod(name, *MORE)
        assert (found["imagePullSecrets"], found["nodeSelector"], found["tolerations"]) == ([{"name": "registry"}], {"pool": "mcp"}, [{"key": "mcp"}]), found


def who_reaches_whom() -> None:
    """Traefik everything, Prometheus the private listener if it is named, auth Redis; Redis reaches nobody, a server nothing of the cluster."""
    def ways(name: str, *values: str) -> list[tuple]:
        return [(way["from"][0].get("podSelector", {}).get("matchLabels"), way["ports"][0]["port"]) for way in named("NetworkPolicy", name, *values)["spec"]["ingress"]]

    traefik = ({"app.kubernetes.io/name": "traefik"}, "http")
    assert ways("gateway-edge") == [traefik]
    assert ways("gateway-edge", *MORE) == [traefik, ({"app": "prometheus"}, "private")]
    assert ways("gateway-redis") == [({"app.kubernetes.io/name": "auth", "app.kubernetes.io/instance": "gateway"}, "redis")]
    redis = named("NetworkPolicy", "gateway-redis")["spec"]
    assert "Egress" in redis["policyTypes"] and not redis.get("egress")
    servers = named("NetworkPolicy", "gateway-mcp-servers")["spec"]
    assert servers["policyTypes"] == ["Egress"] and "10.0.0.0/8" in servers["egress"][1]["to"][0]["ipBlock"]["except"]


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
            assert "memory" in container["resources"]["limits"] and "readinessProbe" in container, name
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
    assert pod("mcp-time")["terminationGracePeriodSeconds"] >= int(variables("mcp-time")["SHUTDOWN_DRAIN"]) + 25 + 10


def wrong_values_are_refused() -> None:
    for wrong, named_in_error in (("services.time.replicas=0", "replicas"), ("auth.replicas=two", "replicas"), ("services.Time.image=x", "Time"),
                                  ("auth.setings.DOMAIN=x", "setings"), ("domain=https://example.com", "domain"), ("services.time.storage=1Gi", "one replica"),
                                  ("services.fetch.storage=large", "storage")):
        done = helm("template", "gateway", str(CHART), *VALUES, "--set", wrong)
        assert done.returncode != 0 and named_in_error in done.stderr, f"{wrong}: {done.stderr or 'accepted'}"


def objects_are_what_kubernetes_knows() -> None:
    """Traefik's own kinds are checked in the other tests."""
    for entry in [*objects(), *objects(*MORE)]:
        if entry["apiVersion"].startswith("traefik.io/"):
            continue
        kubernetes_validate.validate(entry, KUBERNETES, strict=True)


CHECKS = (lint, needs_a_domain, every_route_is_guarded, same_routes_to_auth, same_limits, same_cors, settings_arrive_as_written,
          what_other_servers_need, who_reaches_whom, hardened, secret_of_the_provider, selectors_meet, replicas_find_each_other,
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

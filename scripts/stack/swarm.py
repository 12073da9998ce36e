#!/usr/bin/env python3
"""The stack on several machines: Docker Swarm, from the same docker-compose.yml.

    swarm.py            builds what is missing, writes the stack file and deploys it; again after every change
    swarm.py file       only prints what `docker stack deploy` is given
    swarm.py down       ends the stack; volumes stay

Compose reads the files and .env as ever; what Swarm spells in another way is spelled so here: labels belong to the service, limits stand under
`deploy`, there are no profiles, secrets never change (a changed one has another name), nothing waits for anything else at the start, and a directory of
this machine is on no other: auth gets gateway.toml as a configuration of Swarm's, which never changes either.
How many of each run say AUTH_REPLICAS and MCP_REPLICAS in .env, or `deploy: {replicas: 3}` of a service in docker-compose.override.yml.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import compose
from compose import StackError, start

# What the two formats share; everything else is dropped or spelled anew below.
SAME = ("image", "command", "entrypoint", "environment", "cap_add", "cap_drop", "read_only", "init", "user", "tmpfs", "healthcheck", "logging",
        "stop_grace_period", "working_dir")
# Seconds in which whoever balances sees that a replica is going: Traefik asks Swarm every second, but a busy engine answers late.
DRAIN = 10
# Seconds that a replica may take to end: the drain, requests in flight, the MCP server processes.
STOP = "70s"
WITHIN = 300
# Where what is kept on a disk is: volumes of Swarm belong to one machine.
STATE = "mcp-gateway.state"
PORT = "3000"
# What Swarm calls gateway.toml.
RULES = "gateway_toml"


def docker(*arguments: str) -> str:
    done = compose.run(["docker", *arguments])
    if done.returncode != 0:
        raise StackError(f"docker {' '.join(arguments[:2])}: {(done.stderr.strip() or done.stdout.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


def compose_config(*arguments: str) -> str:
    done = compose.run(compose.command("config", *arguments), env=compose.environment())
    if done.returncode != 0:
        raise StackError(compose.explained(done.stderr))
    return done.stdout


def made_by_compose() -> dict:
    """The enabled services, with every variable filled in."""
    return json.loads(compose_config("--format", "json"))


def registry(made: dict) -> str:
    """What stands before the name of an image that was built here."""
    named = made["x-swarm"]["registry"].rstrip("/")
    return f"{named}/" if named else ""


def replicas(name: str, service: dict, made: dict) -> int:
    """What the service says itself; else one of what keeps something on a disk, owns a port, or could not hand a session on; and as many of the
    others as .env says."""
    own = (service.get("deploy") or {}).get("replicas")
    if own is not None:
        return int(own)
    if is_pinned(name, service) or (name.startswith("mcp-") and not compose.has_proxy(service)):
        return 1
    kind = "mcp" if name.startswith("mcp-") else name
    said = made["x-swarm"]["replicas"].get(kind, "1")
    if not said.isdecimal():
        raise StackError(f"{kind.upper()}_REPLICAS={said} is not a number; correct it in .env")
    return int(said)


def is_pinned(name: str, service: dict) -> bool:
    """Does it belong on the machine where its data is, or where the names of the hosts lead?"""
    return has_state(service) or name == "traefik"


def has_state(service: dict) -> bool:
    """Something that is on one machine only: a volume, or a directory that is mounted."""
    return any(volume.get("type") in ("volume", "bind") for volume in mounted(service))


def mounted(service: dict) -> list[dict]:
    """What is on a disk. The directory of auth's configuration is not: Swarm brings the file in it to every machine."""
    return [volume for volume in service.get("volumes") or [] if volume.get("target") != compose.MOUNTED]


def rules() -> Path:
    """The rules per service, if there are any."""
    return compose.config_directory() / "gateway.toml"


def present(env: dict[str, str | None], empty: set[str]) -> dict[str, str]:
    """Variables with a value; a secret that is empty cannot be one of Swarm's."""
    return {key: value for key, value in env.items() if value is not None and value.removeprefix("/run/secrets/") not in empty}


def for_traefik(env: dict[str, str], stack: str) -> dict[str, str]:
    """Traefik finds services where it found containers."""
    moved = {key.replace("PROVIDERS_DOCKER", "PROVIDERS_SWARM"): value for key, value in env.items()}
    moved["TRAEFIK_PROVIDERS_SWARM_CONSTRAINTS"] = f"Label(`com.docker.stack.namespace`, `{stack}`)"
    moved["TRAEFIK_PROVIDERS_SWARM_REFRESHSECONDS"] = "1"
    moved["TRAEFIK_PROVIDERS_PROVIDERSTHROTTLEDURATION"] = "500ms"
    return moved


def for_auth(env: dict[str, str]) -> dict[str, str]:
    """The names of the services in the environment: other machines have no file of ours, and new instances are up before the old ones go."""
    return {**{key: value for key, value in env.items() if key != "MCP_SERVICES_FILE"}, "MCP_SERVICES": ",".join(compose.enabled())}


def service(name: str, made: dict, empty: set[str]) -> dict:
    """One service as Swarm spells it. `empty`: secrets without content."""
    entry = made["services"][name]
    out = {key: entry[key] for key in SAME if entry.get(key) is not None}
    out["image"] = registry(made) + out["image"] if entry.get("build") else out["image"]
    variables = present(entry.get("environment") or {}, empty)
    labels = {key.replace("traefik.docker.", "traefik.swarm."): value for key, value in (entry.get("labels") or {}).items()}
    if name == "traefik":
        variables = for_traefik(variables, made["name"])
    if name == "auth":
        variables = for_auth(variables)
    if compose.has_proxy(entry):
        # `tasks.` stands for the addresses of all replicas, whatever their number.
        variables |= {"REPLICAS": f"tasks.{name}:{PORT}", "SHUTDOWN_DRAIN": str(DRAIN)}
        if variables.get("IDENTITY_FROM") == "traefik":
            variables["IDENTITY_FROM"] = "tasks.traefik"
        out["stop_grace_period"] = STOP
    if labels:
        labels[f"traefik.http.services.{name}.loadbalancer.server.port"] = PORT
    out["environment"] = variables
    out["networks"] = sorted(entry.get("networks") or {})
    out["secrets"] = [secret["source"] for secret in entry.get("secrets") or [] if secret["source"] not in empty]
    out["volumes"] = [mount(volume) for volume in mounted(entry)]
    if name == "auth" and rules().exists():
        out["configs"] = [{"source": RULES, "target": f"{compose.MOUNTED}/gateway.toml"}]
    if entry.get("shm_size"):
        out["volumes"].append({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": int(entry["shm_size"])}})
    # The mesh of Swarm would hide from which address a client comes.
    out["ports"] = [{"target": port["target"], "published": int(port["published"]), "protocol": port.get("protocol", "tcp"), "mode": "host"}
                    for port in entry.get("ports") or []]
    out["deploy"] = deploy(name, entry, replicas(name, entry, made)) | ({"labels": labels} if labels else {})
    return {key: value for key, value in out.items() if value not in ([], {})}


def mount(volume: dict) -> dict:
    return {key: volume[key] for key in ("type", "source", "target", "read_only") if key in volume}


def deploy(name: str, entry: dict, count: int) -> dict:
    pinned = is_pinned(name, entry)
    limits = {"memory": entry.get("mem_limit"), "pids": entry.get("pids_limit")}
    limits = {key: value for key, value in limits.items() if value}
    out = {
        "replicas": count,
        # Its name stands for the addresses of its replicas: a connection goes to one that is there, without a balancer in between.
        "endpoint_mode": "dnsrr",
        "restart_policy": {"condition": "any", "delay": "2s"},
        # The old one goes when the new one is well; but a disk and a port have one owner at a time.
        "update_config": {"parallelism": 1, "order": "stop-first" if pinned else "start-first", "failure_action": "rollback", "monitor": "5s"},
        "rollback_config": {"parallelism": 1, "order": "stop-first" if pinned else "start-first"},
    }
    if limits:
        out["resources"] = {"limits": limits}
    constraints = [f"node.labels.{STATE} == true"] if pinned else []
    if name == "traefik":
        constraints.append("node.role == manager")  # Only managers know the services.
    if constraints:
        out["placement"] = {"constraints": constraints}
    return out


def stack_file(made: dict) -> dict:
    """What `docker stack deploy` is given."""
    stack = made["name"]
    secrets = {name: Path(entry["file"]) for name, entry in (made.get("secrets") or {}).items()}
    empty = {name for name, file in secrets.items() if not file.read_bytes().strip()}
    services = {name: service(name, made, empty) for name in made["services"]}
    used = {source for entry in services.values() for source in entry.get("secrets", [])}
    return {
        "version": "3.9",
        "services": services,
        "networks": {name: {"driver": "overlay", "name": entry.get("name", f"{stack}_{name}"), "internal": bool(entry.get("internal"))}
                     for name, entry in made["networks"].items()},
        "volumes": {name: {} for name in made.get("volumes") or {}},
        "secrets": {name: unchanging(stack, name, secrets[name]) for name in sorted(used)},
        "configs": {RULES: unchanging(stack, RULES, rules())} if rules().exists() else {},
    }


def unchanging(stack: str, name: str, file: Path) -> dict[str, str]:
    """A secret or a configuration, named after what is in it: what changes gets another name."""
    return {"file": str(file), "name": f"{stack}_{name}_{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"}


def check_swarm(has_registry: bool) -> None:
    state, manages = docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}").split()
    if state != "active":
        raise StackError("this machine is in no swarm; begin one with `docker swarm init`, then let others join it")
    if manages != "true":
        raise StackError("this machine is no manager of its swarm; run this on a manager, or `docker node promote` it")
    nodes = docker("node", "ls", "--quiet").split()
    if len(nodes) > 1 and not has_registry:
        raise StackError(f"the other {len(nodes) - 1} machines of the swarm cannot get the images from here; set SWARM_REGISTRY=registry.example.com/name in .env")


def choose_state_node() -> None:
    """Redis, certificates and volumes stay on the machine where the stack was first deployed."""
    if docker("node", "ls", "--filter", f"node.label={STATE}=true", "--quiet").strip():
        return
    docker("node", "update", "--label-add", f"{STATE}=true", docker("info", "--format", "{{.Swarm.NodeID}}").strip())
    print(f"just: Redis, the certificates and the volumes will stay on this machine (node label {STATE})", flush=True)


def images(made: dict) -> None:
    """Builds what is missing; with a registry, hands it to the other machines."""
    built = {name: entry["image"] for name, entry in made["services"].items() if entry.get("build")}
    missing = [name for name, image in built.items() if compose.run(["docker", "image", "inspect", image]).returncode != 0]
    if missing:
        status = subprocess.run([sys.executable, str(Path(__file__).with_name("docker_compose.py")), "build", *missing], check=False).returncode
        if status != 0:
            raise StackError("an image was not built; the reason stands above")
    if there := registry(made):
        for image in built.values():
            docker("tag", image, there + image)
            docker("push", "--quiet", there + image)


def write(stack: dict) -> Path:
    """In a file that only its owner reads: hashes of passwords may be in it."""
    place = compose.ROOT / ".swarm"
    place.mkdir(mode=0o700, exist_ok=True)
    file = place / "stack.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(stack, indent=2) + "\n")
    return file


def wait(name: str) -> None:
    """Until every service has as many replicas as it should, all of them of the newest form."""
    deadline = time.monotonic() + WITHIN
    while True:
        states = [line.split() for line in docker("stack", "services", name, "--format", "{{.Name}} {{.Replicas}}").splitlines()]
        behind = [service for service, count, *_ in states if len(set(count.split("/"))) != 1]
        updates = docker("service", "inspect", "--format", "{{.Spec.Name}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", *(entry[0] for entry in states))
        said = dict((line.split() + [""])[:2] for line in updates.splitlines())
        if failed := [service for service, state in said.items() if state.startswith("rollback") or state == "paused"]:
            raise StackError(f"{', '.join(failed)} did not come up with the new settings and went back to the old ones; see `docker service logs {failed[0]}`")
        behind += [service for service, state in said.items() if state == "updating"]
        if not behind:
            return
        if time.monotonic() > deadline:
            raise StackError(f"{', '.join(sorted(set(behind)))} is not up after {WITHIN} s; see `docker service ps --no-trunc {behind[0]}`")
        time.sleep(1)


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["file"], ["down"]):
        raise StackError("swarm takes nothing, file or down")
    name = compose.configuration()["name"]
    if arguments == ["down"]:
        print(docker("stack", "rm", name), end="")
        return
    made = made_by_compose()
    stack = stack_file(made)
    if arguments == ["file"]:
        print(json.dumps(stack, indent=2))
        return
    there = bool(registry(made))
    check_swarm(there)
    images(made)
    choose_state_node()
    print(docker("stack", "deploy", "--prune", "--with-registry-auth", "--resolve-image", "always" if there else "never",
                 "--compose-file", str(write(stack)), name), end="", flush=True)
    wait(name)


if __name__ == "__main__":
    start(main)

"""The stack on Docker Swarm, on one machine: deployed by `just swarm`, two instances of auth and two replicas of an MCP server, rolled while clients go on."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import services
import story
from browser import ask

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "mcp-gateway-swarm-test"
SERVICE = "mcp-echo"
REVISION = "2026-07-28"
WITHIN = 60


def run(command: list[str], *, check: bool = True, **more: object) -> str:
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, **more)  # type: ignore[call-overload]
    assert not check or done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()
    return done.stdout + done.stderr


def remove(*, leave: bool) -> None:
    """Takes the stack down, with its volumes; `leave` where the swarm was begun for it."""
    run(["docker", "stack", "rm", PROJECT], check=False)
    deadline = time.monotonic() + WITHIN
    while run(["docker", "ps", "--quiet", "--filter", f"label=com.docker.stack.namespace={PROJECT}"]).strip() and time.monotonic() < deadline:
        time.sleep(0.5)
    if leave:
        run(["docker", "swarm", "leave", "--force"])
    volumes = run(["docker", "volume", "ls", "--quiet", "--filter", f"label=com.docker.stack.namespace={PROJECT}"]).split()
    if volumes:
        run(["docker", "volume", "rm", *volumes], check=False)


class Swarm:
    """The recipe, with the settings of this test: those of the stack's, another project and other ports, one MCP server."""

    def __init__(self, stack_environment: dict[str, str], password: str) -> None:
        self.port = story.free_port()
        self.password = password
        self.began = False
        off = {name: "false" for name in stack_environment if name.startswith("MCP_") and name.endswith("_ENABLED")}
        self.environment = stack_environment | off | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "MCP_ECHO_ENABLED": "true",
            "MCP_FETCHS_ENABLED": "true",
            "MCP_FETCH_ENABLED": "false",
            # Swarm publishes on every address of the machine.
            "HTTP_PORT": str(self.port),
            "HTTPS_PORT": str(story.free_port()),
            "PUBLIC_PORT": str(self.port),
            "AUTH_REPLICAS": "2",
            "MCP_REPLICAS": "2",
        }

    def __enter__(self) -> Swarm:
        if run(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]).strip() != "active":
            run(["docker", "swarm", "init", "--advertise-addr", "127.0.0.1"])
            self.began = True
        return self

    def __exit__(self, *_: object) -> None:
        remove(leave=self.began)

    def just(self, *arguments: str) -> str:
        return run(["./justw", "swarm", *arguments], env=self.environment, timeout=600)

    def modern(self, token: str) -> int:
        """The status of a call that any replica may answer."""
        params = {"name": "echo", "arguments": {"message": "still here"},
                  "_meta": {"io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {}}}
        return ask("POST", story.mcp_url(self.port, SERVICE), body=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}),
                   headers=story.MCP_HEADERS | {"Authorization": f"Bearer {token}", "MCP-Protocol-Version": REVISION, "Mcp-Method": "tools/call", "Mcp-Name": "echo"}).status


def deployed(swarm: Swarm) -> None:
    swarm.just()
    lines = run(["docker", "stack", "services", PROJECT, "--format", "{{.Name}} {{.Replicas}}"]).splitlines()
    counts = dict(line.removeprefix(f"{PROJECT}_").split()[:2] for line in lines)
    assert counts == {"traefik": "1/1", "redis": "1/1", "auth": "2/2", SERVICE: "2/2", "mcp-fetchs": "1/1"}, counts


def runs_on_any_machine(swarm: Swarm) -> None:
    """What may run on another machine has nothing of this one; the rules of auth come along."""
    file = Path(swarm.environment["CONFIG_DIR"]) / "gateway.toml"
    file.write_text("[services.mcp-echo]\naccess_token_lifetime = 900\n")
    try:
        stack = json.loads(swarm.just("file"))
    finally:
        file.unlink()
    elsewhere = {name: service for name, service in stack["services"].items() if not service["deploy"].get("placement")}
    assert {"auth", SERVICE} <= elsewhere.keys(), elsewhere.keys()
    mounted = {name: service["volumes"] for name, service in elsewhere.items() if service.get("volumes")}
    assert not mounted, mounted
    given = [stack["configs"][entry["source"]]["file"] for entry in elsewhere["auth"]["configs"]]
    assert given == [str(file)], given


def routed(swarm: Swarm) -> None:
    """Traefik looks for services a moment after they are there."""
    deadline = time.monotonic() + WITHIN
    while (status := story.initialize(swarm.port, None, SERVICE).status) != 401:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)


def session_on_any_replica(swarm: Swarm, token: str) -> None:
    """Every request is a new connection, and Traefik takes the replicas in turn: half of them come to the one without the session."""
    session = services.Session(swarm.port, SERVICE, token)
    for _ in range(10):
        answer = session.request("tools/call", {"name": "echo", "arguments": {"message": "still here"}})
        assert "still here" in json.dumps(answer), answer
    session.close()


def rolled(swarm: Swarm, token: str) -> None:
    """Both replicas of both services are replaced, and no call fails."""
    statuses: list[int | str] = []
    over = threading.Event()

    def caller() -> None:
        while not over.is_set():
            try:
                statuses.append(swarm.modern(token))
            except OSError as error:
                statuses.append(repr(error))

    def update(name: str) -> None:
        run(["docker", "service", "update", "--quiet", "--force", f"{PROJECT}_{name}"], timeout=300)

    threads = [threading.Thread(target=caller) for _ in range(2)]
    updates = [threading.Thread(target=update, args=(name,)) for name in ("auth", SERVICE)]
    for thread in (*threads, *updates):
        thread.start()
    for thread in updates:
        thread.join()
    # The old ones serve on for a while, and go.
    deadline = time.monotonic() + WITHIN
    while (left := len(run(["docker", "ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={PROJECT}_{SERVICE}"]).split())) > 2:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    failed = [status for status in statuses if status != 200]
    assert left == 2, f"{left} replicas are there after the update"
    assert len(statuses) > 100 and not failed, f"{len(failed)} of {len(statuses)} calls failed: {failed[:5]}"
    assert swarm.modern(token) == 200


def checks(environment: dict[str, str], password: str, done) -> None:
    swarm = Swarm(environment, password)
    done.check("just swarm file: nothing of this machine on others", runs_on_any_machine, swarm)
    with swarm:
        if not done.check("just swarm: two of auth, two of an MCP server", deployed, swarm) or not done.check("the swarm's routes are there", routed, swarm):
            print(run(["docker", "stack", "ps", "--no-trunc", PROJECT], check=False), flush=True)
            for name in ("traefik", "auth", SERVICE):
                print(run(["docker", "service", "logs", "--tail", "20", f"{PROJECT}_{name}"], check=False), flush=True)
            return
        token = done.check("a person signs in on the swarm", services.call, swarm.port, SERVICE, password)
        done.check("a server on a network of its own is reached", services.call, swarm.port, "mcp-fetchs", password)
        if token:
            done.check("a session is found from any replica", session_on_any_replica, swarm, token)
            done.check("a rolling update of auth and the MCP server fails no call", rolled, swarm, token)

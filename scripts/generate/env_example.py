"""`.env.example`: every variable that an operator may set for the stack, with its default and a sentence.

What a service reads is described by the service itself; what only the stack has is described here. A variable that the stack passes on
but that stands in no section, or a setting of a service that the stack neither passes on nor fixes, is an error: nothing is forgotten.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from reference import Reference, Setting, interpolated

WIDTH = 140
HEAD = """\
# Settings of the stack (docker-compose.yml). `just init` asks for what must be set and writes .env; or copy this file to .env and fill in the
# lines without #. The rest has a default, shown here. `just exec auth mcp-auth config` prints what the authorization server made of it.
# Made by `just gen` from what the services say of their settings.
"""


# What scripts/stack/inside.py takes when nobody says.
DEFAULTS = {"TOOLBOX_IMAGE": "debian:bookworm-slim"}


class Section(NamedTuple):
    title: str
    # What the variables have in common, or what the stack does with them.
    about: str
    variables: tuple[str, ...]


# To be filled in: without them the stack does not start.
OPEN = ("DOMAIN", "ACME_EMAIL", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "ALLOWED_GITHUB_USERS")
# What only the stack has.
STACK = {
    "ACME_EMAIL": "Where Let's Encrypt writes when a certificate is about to end.",
    "GITHUB_CLIENT_SECRET": "Its client secret.",
    "OIDC_CLIENT_SECRET": "Client secret of the gateway at the oidc provider.",
    "MCP_CORS_ORIGINS": "Pages of these origins may call the services from a browser (CORS), with commas between.",
    "REDIS_PASSWORD": "Password of the stack's Redis.",
    "REDIS_MAXMEMORY": "Memory for the data of the stack's Redis; a full one refuses to write and drops nothing.",
    "SECRETS_DIR": "The directory of the secrets.",
    "CONFIG_DIR": "The directory of gateway.toml, where `just` also writes the names of the services.",
    "RATE_LIMIT_REGISTER": "Registrations per minute and address that Traefik lets through; beyond: 429.",
    "RATE_LIMIT_SIGN_IN": "The same for the pages of a sign-in.",
    "TRAEFIK_LOG_LEVEL": "How much Traefik logs: ERROR, WARN, INFO, DEBUG.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where auth sends traces (OTLP over HTTP), such as http://collector:4318; empty = nowhere.",
    "OTEL_SERVICE_NAME": "The name of auth in the traces.",
    "HTTP_PORT": "Port of this machine for HTTP; 127.0.0.1:8080 is possible too.",
    "HTTPS_PORT": "The same for HTTPS.",
    "AUTH_REPLICAS": "Instances of auth.",
    "MCP_REPLICAS": "Replicas of each MCP server that keeps nothing on a disk.",
    "SWARM_REGISTRY": "Where the other machines get the images that are built here, such as registry.example.com/gateway.",
    "TRAEFIK_IMAGE": "",
    "REDIS_IMAGE": "",
    "REDIS_USER": "Owner of /data in the image of Redis.",
    "RUST_IMAGE": "",
    "RUNTIME_IMAGE": "",
    "PYTHON_IMAGE": "",
    "NODE_IMAGE": "",
    "TOOLBOX_IMAGE": "What the tools of `just exec` and `just shell` are installed into.",
    "IMAGE_TAG": "The tag of the images that are built here.",
    "BINARIES": "build compiles inside the images; prebuilt copies what lies in deploy/docker/prebuilt/.",
}
# Read by make_secrets.py, which writes them into files for the services, and by inside.py of scripts/stack.
BY_SCRIPTS = ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_SECRET_PREVIOUS", "REDIS_PASSWORD", "GITHUB_CLIENT_SECRET", "OIDC_CLIENT_SECRET", "TOOLBOX_IMAGE")
# What the stack decides itself. A setting of mcp-auth is here, or in a section.
FIXED = {
    "mcp-auth": {"HOST", "PORT", "MCP_SERVICES", "PRIVATE_HOST", "PRIVATE_PORT", "ADDRESS_FILE", "STORE", "STORE_PATH", "STORE_FREE_SPACE", "REDIS_URL",
                 "REDIS_SENTINEL_PASSWORD", "REDIS_PREFIX"},
    # Also what is a matter of one MCP server: `environment:` of its block.
    "mcp-proxy": {
        "HOST", "PORT", "PRIVATE_HOST", "PRIVATE_PORT", "ADDRESS_FILE", "MCP_COMMAND", "MCP_ENV", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "REQUIRE_IDENTITY", "REPLICAS",
        "IDENTITY_FROM",
        "CHILD_SHARING", "CHILD_MEMORY_BYTES", "CHILD_OPEN_FILES", "CHILD_PROCESSES", "CHILD_CPU_SECONDS", "TOOLS_ALLOW", "TOOLS_DENY", "MAX_LEASES",
        "MAX_LEASES_PER_SUBJECT", "MAX_IN_FLIGHT", "PARKED_TIMEOUT", "INITIALIZE_TIMEOUT", "SESSION_LEFT_ALONE", "STREAM_LIFE", "STREAM_AFTER", "KEEP_ALIVE",
        "REPLAY_BYTES", "SHUTDOWN_GRACE",
    },
}
SECTIONS = (
    Section("What must be set", "The hosts are auth.DOMAIN and mcp-<name>.DOMAIN; all of them must point at this machine.", OPEN),
    Section("Who else may come in", "", ("ALLOWED_GITHUB_ORGS", "ALLOWED_GITHUB_TEAMS", "MEMBERSHIP_LIFETIME", "GITHUB_ORG_TOKEN")),
    Section("OpenID Connect instead of GitHub", "With IDENTITY_PROVIDER=oidc; docs/how-to/oidc.md says what to fill in for Keycloak, Google, Entra and Authentik.",
            ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_SCOPES", "OIDC_LOGIN_CLAIM", "OIDC_GROUPS_CLAIM", "ALLOWED_OIDC_USERS", "ALLOWED_OIDC_GROUPS")),
    Section("The MCP servers that run", "true or false. `just add NAME -- COMMAND` adds others. mcp-tmux is a shell inside the stack and mcp-playwright a browser: "
            "say first in config/gateway.toml who may use them. mcp-fetchs speaks HTTP by itself.",
            (*(f"MCP_{name}_ENABLED" for name in ("FETCH", "ECHO", "TIME", "EVERYTHING", "FILESYSTEM", "MEMORY", "SEQUENTIALTHINKING", "TMUX", "PLAYWRIGHT", "FETCHS")),
             "MCP_CORS_ORIGINS")),
    Section("Their sessions", "For each MCP server by itself.", ("MAX_SESSIONS", "MAX_SESSIONS_PER_SUBJECT", "SESSION_TIMEOUT", "SESSION_LIFE", "REQUEST_TIMEOUT",
                                                                 "REQUEST_TOTAL_TIMEOUT", "PING_TIMEOUT", "MAX_MESSAGE_BYTES", "CHILD_WARM_SPARE")),
    Section("Tokens and clients", "", ("ACCESS_TOKEN_LIFETIME", "REFRESH_TOKEN_LIFETIME", "REFRESH_GRACE", "SESSION_LIFETIME", "CONSENT_LIFETIME", "CLIENT_LIFETIME", "MAX_CLIENTS", "CLIENT_REGISTRATION",
                                       "CLIENT_REGISTRATION_TOKEN", "CLIENT_DOCUMENTS", "JWT_ALGORITHM", "KEY_LIFETIME", "KEY_PUBLISHED_BEFORE")),
    Section("Secrets", "Made by `just up` and kept in .secrets/ when they are not set here.",
            ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_SECRET_PREVIOUS", "REDIS_PASSWORD", "SECRETS_DIR")),
    Section("Limits", "Beyond them the answer is 429.",
            ("RATE_LIMIT_REGISTER", "RATE_LIMIT_SIGN_IN", "LIMIT_REGISTER", "LIMIT_REGISTER_TOTAL", "LIMIT_AUTHORIZE", "LIMIT_AUTHORIZE_TOTAL", "LIMIT_DOCUMENTS", "LIMIT_SIGN_IN",
             "LIMIT_PASSWORDS", "LIMIT_PASSWORDS_OF_NAME", "LIMIT_TOKEN", "LIMIT_TOKEN_FAILURES", "LIMIT_REVOKE", "LIMIT_INTROSPECT", "LIMIT_ADDRESS", "LIMIT_DEVICE_AUTHORIZATION",
             "LIMIT_DEVICE_AUTHORIZATION_TOTAL", "LIMIT_DEVICE_CODES", "LIMIT_VERIFY_IN_FLIGHT", "TRUSTED_PROXIES")),
    Section("Running it", "", ("SHUTDOWN_DRAIN", "LOG_LEVEL", "LOG_FORMAT", "TRAEFIK_LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT",
                               "OTEL_SERVICE_NAME", "HTTP_PORT", "HTTPS_PORT", "PUBLIC_PORT", "REDIS_MAXMEMORY", "CONFIG_DIR")),
    Section("Several machines", "Only `just swarm` reads these.", ("AUTH_REPLICAS", "MCP_REPLICAS", "SWARM_REGISTRY")),
    Section("On this machine only, or without GitHub", "To try the stack: DOMAIN=localhost, PUBLIC_SCHEME=http, IDENTITY_PROVIDER=local, and people in single quotes (`just hash-password`).",
            ("PUBLIC_SCHEME", "IDENTITY_PROVIDER", "LOCAL_USERS", "GITHUB_URL", "GITHUB_API_URL")),
    Section("Images", "Other bases, for example with a digest (`just pin`), and how ours are built.",
            ("TRAEFIK_IMAGE", "REDIS_IMAGE", "REDIS_USER", "RUST_IMAGE", "RUNTIME_IMAGE", "PYTHON_IMAGE", "NODE_IMAGE", "TOOLBOX_IMAGE", "IMAGE_TAG", "BINARIES")),
)


def comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False) + "\n" if text else ""


def sentence(variable: str, setting: Setting | None) -> str:
    if variable in STACK or setting is None:
        return STACK.get(variable, "")
    unit = f" In {setting.unit}." if setting.unit in ("seconds", "bytes") and setting.unit not in setting.help else ""
    between = " With commas between." if setting.kind == "list" else ""
    # For most the sentence and the default are enough.
    how = f" {setting.how_to_get}" if setting.how_to_get.startswith("Make ") else ""
    return f"{setting.help}{unit}{between}{how}"


def check(reference: Reference, stack: dict[str, str]) -> None:
    listed = [variable for section in SECTIONS for variable in section.variables]
    read = {*stack, *BY_SCRIPTS}
    problems = [f"{name} is passed on by docker-compose.yml but stands in no section of scripts/generate/env_example.py" for name in sorted(read - set(listed))]
    problems += [f"{name} stands in a section of scripts/generate/env_example.py but nothing reads it" for name in sorted(set(listed) - read)]
    for binary, settings in reference.settings.items():
        problems += [f"{setting.variable} of {binary} is neither passed on by docker-compose.yml nor fixed by the stack (scripts/generate/env_example.py)"
                     for setting in settings if setting.variable not in FIXED[binary] | set(listed)]
    for name, default in stack.items():
        setting = reference.find(name)
        if setting and default and setting.default and default != setting.default and name not in FIXED["mcp-auth"]:
            problems.append(f"{name}: docker-compose.yml says {default}, the service {setting.default}")
    if problems:
        raise ValueError("\n     ".join(problems))


def text(reference: Reference) -> str:
    stack = interpolated()
    check(reference, stack)
    parts = [HEAD]
    for section in SECTIONS:
        parts.append(f"\n# ---- {section.title} ----\n{comment(section.about)}")
        for variable in section.variables:
            setting = reference.find(variable)
            default = stack.get(variable) or DEFAULTS.get(variable) or (setting.default if setting else None) or ""
            parts.append(f"{comment(sentence(variable, setting))}{'' if variable in OPEN else '#'}{variable}={default}\n")
    return "".join(parts)

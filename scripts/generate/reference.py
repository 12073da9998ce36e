"""What the binaries say of their settings (`mcp-auth config --reference`), and what docker-compose.yml passes on."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
BINARIES = ("mcp-auth", "mcp-proxy")
# Files in which Compose fills in variables.
INTERPOLATED = ("docker-compose.yml", "traefik/https.env")


class Setting(NamedTuple):
    """As chassis::config::Described writes it; the binaries that read it are added."""

    variable: str | None
    aliases: list[str]
    file_variable: str | None
    key: str
    kind: str
    unit: str
    default: str | None
    required: bool
    secret: bool
    help: str
    how_to_get: str
    example: str


class Reference(NamedTuple):
    """Binary → its settings with a variable, and those that only gateway.toml has."""

    settings: dict[str, list[Setting]]
    file: dict[str, list[Setting]]

    @classmethod
    def ask(cls, binaries: Path) -> Reference:
        settings, file = {}, {}
        for binary in BINARIES:
            program = binaries / binary
            if not program.exists():
                raise ValueError(f"{program} does not exist; build it first: cargo build --workspace --bins")
            said = json.loads(subprocess.run([str(program), "config", "--reference"], env={}, text=True, capture_output=True, check=True).stdout)
            settings[binary] = [Setting(**setting) for setting in said["settings"]]
            file[binary] = [Setting(**setting) for setting in said["file"]]
        return cls(settings, file)

    def find(self, variable: str) -> Setting | None:
        """The setting of this variable; of two binaries that both have it, mcp-auth's."""
        return next((setting for binary in BINARIES for setting in self.settings[binary] if setting.variable == variable), None)


def interpolated() -> dict[str, str]:
    """Variable → the default that the stack gives it, for every variable that Compose fills in."""
    found: dict[str, str] = {}
    for file in INTERPOLATED:
        for name, default in re.findall(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?", (ROOT / file).read_text(encoding="utf-8")):
            found[name] = default or found.get(name, "")
    del found["COMPOSE_PROJECT_NAME"], found["GATEWAY_COMMIT"]  # Compose and `just` set them.
    return found

"""What the user's pip is told about indexes and certificates, in the words that uv understands.

uv reads none of pip's configuration. Whoever set pip up for a private index or a private
certificate authority should not have to do it twice. This runs before anything is installed: it
needs the standard library alone.
"""

import os
import ssl
import sys
from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from pagestream.embedded.caching import user_cache

_MACHINE_FILE = Path("/etc/pip.conf")
_SECTIONS = ("global", "install")
# pip's name: uv's variable, and what stands between its values where there are several.
_LISTS = {
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
_SINGLE = {
    "index-url": ("UV_INDEX_URL",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
}


def uv_environment(environment: Mapping[str, str], spare_cache: Path) -> dict[str, str]:
    """Return variables to add to `environment` for uv; one that it already has is left alone.

    `spare_cache` is where uv may keep downloads for a user whose own cache cannot be written.
    """
    settings = pip_settings(environment)
    wanted: dict[str, str] = {}
    for name, (variable, separator) in _LISTS.items():
        if name in settings:
            wanted[variable] = separator.join(settings[name].split())
    for name, variables in _SINGLE.items():
        if name in settings:
            wanted |= dict.fromkeys(variables, settings[name])
    if "extra-index-url" in settings:
        # As pip does: look in every index. The locked hashes say which file is the right one.
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if system_certificates() is not None:
        wanted["UV_SYSTEM_CERTS"] = "true"
    if user_cache(environment) is None:
        wanted["UV_CACHE_DIR"] = str(spare_cache / "uv")
    return {name: value for name, value in wanted.items() if name not in environment}


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings for `install`: its files in pip's own order, then its variables."""
    settings: dict[str, str] = {}
    for path in _configuration_files(environment):
        parser = RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (Error, UnicodeDecodeError):
            continue  # pip itself will say what is wrong with its file
        for section in _SECTIONS:
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def system_certificates() -> Path | None:
    """Return the system's file or directory of trusted certificates, None where it has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile)
    if paths.capath and any(Path(paths.capath).iterdir()):
        return Path(paths.capath)
    return None


def _configuration_files(environment: Mapping[str, str]) -> list[Path]:
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    shared = environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)
    files = [Path(directory, "pip", "pip.conf") for directory in shared if directory]
    files.append(_MACHINE_FILE)
    if home := environment.get("HOME"):
        own = environment.get("XDG_CONFIG_HOME") or str(Path(home, ".config"))
        files += [Path(home, ".pip", "pip.conf"), Path(own, "pip", "pip.conf")]
    files.append(Path(sys.prefix, "pip.conf"))
    return files + ([Path(chosen)] if chosen else [])

"""Where a run was made: a seal on its description that only this user on this machine can set.

A run may name code (``module:Env-v0``). Importing it executes it, so a run that was received, or whose ``config.json``
was edited, is told from one that was made here.
"""

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

_SEAL = "seal"
_KEY_BYTES = 32


def sealed(described: dict[str, Any]) -> dict[str, Any]:
    """A description with the seal of this user; with None instead where there is no place to keep the key."""
    key = _key(make=True)
    return {**described, _SEAL: _digest(described, key) if key else None}


def made_here(described: dict[str, Any]) -> bool:
    """Whether this user sealed a description as it is."""
    key, seal = _key(make=False), described.get(_SEAL)
    return (
        key is not None
        and isinstance(seal, str)
        and hmac.compare_digest(_digest(described, key).encode(), seal.encode())
    )


def code_named(values: Any) -> list[str]:
    """The texts in nested settings that may name a module: ``module:Env-v0``, ``module:function``."""
    if isinstance(values, str):
        return [values] if ":" in values else []
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, list | tuple) else ()
    return [text for part in parts for text in code_named(part)]


def _digest(described: dict[str, Any], key: bytes) -> str:
    plain = {name: value for name, value in described.items() if name != _SEAL}
    text = json.dumps(json.loads(json.dumps(plain)), sort_keys=True)  # as it is once it was written and read
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(*, make: bool) -> bytes | None:
    """The secret of this user, made where it is missing and wanted; None where there is none."""
    state = os.environ.get("XDG_STATE_HOME")
    path = (Path(state) if state else Path.home() / ".local" / "state") / "forethought" / "key"
    with suppress(OSError):
        if make and not _usable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"key.{os.getpid()}.partial")
            with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            os.replace(partial, path)
        if _usable(path):
            return path.read_bytes()
    return None


def _usable(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == _KEY_BYTES

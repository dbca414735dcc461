"""Modules loaded from ``file.py``, under names of their own, so that a worker can load the same file again."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PREFIX = "egflow_file_"


def load_file(file: str | Path, name: str | None = None) -> ModuleType:
    """Run a Python file as a module and return it; a file that did not change since is run once.

    The file's folder is appended to ``sys.path`` (at the end, so that it hides nothing), where its own imports look.
    The file is the user's trusted code. Whatever it raises is passed on.
    """
    file = Path(file).resolve()
    name = name or f"{PREFIX}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    stamp = (file.stat().st_mtime_ns, file.stat().st_size)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__egflow_stamp__", None) == stamp:
        return loaded
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__egflow_stamp__"] = stamp
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def loaded_files() -> dict[str, str]:
    """Module name -> file, of everything `load_file` loaded here."""
    modules = list(sys.modules.items())
    return {name: str(module.__file__) for name, module in modules if name.startswith(PREFIX)}

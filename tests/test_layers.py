"""The layers of the package: which part may import which, walked with ``ast`` and enforced."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "textok"

LIBRARIES = {"lightning", "torchmetrics", "torch_fidelity", "lpips", "diffusers", "webdataset", "transformers", "timm"}

#: Part → (parts of ours it may import, libraries of the field it may import). Parts not named here are not restricted.
MAY_IMPORT = {
    "types": (set(), set()),
    "noise": (set(), set()),
    "optim": (set(), set()),
    "frozen": ({"types"}, {"timm"}),
    "storage": ({"types"}, set()),
    "models": ({"types", "noise", "frozen"}, {"timm", "transformers"}),
    "losses": ({"types", "frozen"}, {"lpips", "timm"}),
    "diffusion": ({"types", "noise"}, {"diffusers"}),
    "metrics": ({"types", "frozen", "storage"}, {"torch_fidelity", "lpips", "transformers"}),
    "strategies": ({"types", "storage"}, {"lightning"}),
    "modules": ({"types", "noise", "storage", "models", "losses", "diffusion", "frozen", "optim"}, {"lightning"}),
    "datamodules": ({"types", "storage"}, {"lightning", "webdataset"}),
    "callbacks": ({"types", "metrics", "storage"}, {"lightning"}),
    "pipeline": ({"types", "models", "diffusion", "frozen", "storage"}, set()),
    "runs": (
        {"types", "models", "losses", "diffusion", "frozen", "noise", "optim", "metrics", "storage", "modules"}
        | {"datamodules", "callbacks", "pipeline", "strategies"},
        LIBRARIES,
    ),
}

#: Libraries that cost seconds to import: only inside functions, or for type checking. Keyed by the part they burden.
LAZY = {
    "losses": {"lpips"},
    "models": {"transformers"},
    "diffusion": {"diffusers"},
    "metrics": {"torch_fidelity", "lpips", "transformers"},
    "planning": {"diffusers", "lpips", "timm", "torch_fidelity", "transformers"},
    "commands": LIBRARIES | {"torch"},
    "cli": LIBRARIES | {"torch"},
    "__init__": LIBRARIES | {"torch"},
}


def part_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every imported module of a file, and whether it is imported when the file is."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, at_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, at_import))
                # ``from textok import models`` names a part, too.
                found.extend((f"textok.{alias.name}", at_import) for alias in child.names if child.module == "textok")
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            walk(child, at_import and not lazy and not typing_only)

    walk(ast.parse(path.read_text()), True)
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if "configs" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path):
    part = part_of(path)
    ours_allowed, libraries_allowed = MAY_IMPORT.get(part, (None, None))
    for module, at_import in imports_of(path):
        library = module.split(".")[0]
        if library == "textok":
            target = ([*module.split("."), "__init__"])[1]
            if part == "commands" and target == "commands":
                raise AssertionError(f"{path.name} imports {module}: a command may not import another command")
            if ours_allowed is not None and target not in ours_allowed | {part, "__version__"}:
                raise AssertionError(f"{part} may not import textok.{target} ({path.name})")
            if part not in ("commands", "cli", "__main__", "__init__"):
                assert target not in ("commands", "cli"), f"{path.name} imports {module}"
        if library in LIBRARIES and libraries_allowed is not None:
            assert library in libraries_allowed, f"{part} may not import {library} ({path.name})"
        if at_import:
            assert library not in LAZY.get(part, set()), f"{path.name} imports {library} eagerly"


def test_the_walk_sees_a_wrong_arrow(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("from textok import modules\ndef f():\n    import diffusers\n")
    assert imports_of(file) == [("textok", True), ("textok.modules", True), ("diffusers", False)]

"""The roster and the guides name things that exist."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = yaml.safe_load((ROOT / "agent_ops" / "team.yaml").read_text())["roles"]


def test_eight_roles_each_with_its_room():
    assert [role["id"] for role in ROLES] == [f"A{i}" for i in range(1, 9)]
    for role in ROLES:
        assert role["mission"]
        assert role["checks"]
        for path in role["owns"]:
            assert (ROOT / path).exists(), f"{role['id']} owns {path}"
        for path in role["later"]:
            assert not (ROOT / path).exists(), f"{path} is here: it belongs into owns"


def test_every_source_file_has_an_owner():
    owned = [path for role in ROLES for path in role["owns"]]
    for path in (ROOT / "src" / "marketmakerl").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        assert any(name.startswith(prefix) for prefix in owned) or name == "src/marketmakerl/__init__.py", name


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "PROJECT_GUIDE.md", "CONTRIBUTING.md", "agent_ops/team.yaml"):
        named = set(re.findall(r"(?:`|^    |\[)make ([a-z][a-z-]*)", (ROOT / name).read_text(), re.MULTILINE))
        assert named <= targets, f"{name}: {named - targets}"


def test_links_between_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("agent_ops/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not link.startswith("http"):
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_dependency_earns_its_place():
    import tomllib

    guide = (ROOT / "PROJECT_GUIDE.md").read_text()
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for need in needs:
        name = re.split(r"[><=\[]", need)[0]
        assert re.search(rf"^\| .*\b{re.escape(name)}\b.* \|", guide, re.MULTILINE), name


def test_no_index_or_host_is_named():
    listed = (ROOT / "constraints.txt").read_text()
    assert "://" not in listed
    assert "--" not in "".join(line for line in listed.splitlines() if not line.startswith("#"))

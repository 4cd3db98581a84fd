"""Links lead somewhere, pictures are there and small, and no subcommand, bundle or recipe goes without a word."""

import re
from pathlib import Path

import pytest
import typer.main

from medtrans import InputError
from medtrans.bundle import check_keys
from medtrans.cli import app

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
# of monai.bundle, medtrans and torchrun
NOT_OF_A_CONFIG = ("config_file", "tracking", "set", "scheduler", "workers", "nnodes", "rdzv_endpoint")
VARIABLE = re.compile(
    r"…|: |\d[\d.]*[%D]?|'[^']*'|\b(?:T[12]|MR|VIF|patient|n|train|validation|\w+\.(?:pt|json|csv))\b|\([^)]*\)"
)  # in messages
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(page):
    return FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))


def anchors(path):
    """Ids that a forge gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_to_files_and_headings(pages):
    dead = []
    for page in [*pages, "CONTRIBUTING.md"]:
        for _, target in LINK.findall(prose(page)):
            if re.match(r"\w+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            if not path.exists() or (anchor and anchor not in anchors(path)):
                dead.append(f"{page}: {target}")
    assert not dead


def test_pictures_are_in_the_repository_used_and_small(pages):
    shown = {
        ((ROOT / page).parent / target).resolve()
        for page in pages
        for mark, target in LINK.findall(prose(page))
        if mark
    }
    there = {*(ROOT / "docs/images").iterdir(), *(ROOT / "docs/simulation").glob("*.png")}
    assert shown
    assert shown == there
    assert all(path.stat().st_size < 200_000 for path in there)


def subcommands():
    """Every subcommand, those of a group as ``bundle pack``, with what it takes."""
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {part}", of) for part, of in inner.items()) if inner else [(name, command)]


def test_every_subcommand_is_documented_with_an_example(pages, blocks_of, commands_in):
    commands = [c for page in pages for lang, text in blocks_of(page) if lang == "bash" for c in commands_in(text)]
    for name, _ in subcommands():
        assert any(command.startswith(f"medtrans {name} ") for command in commands), name


def test_every_option_of_a_documented_subcommand_exists(pages):
    known = {"--help"} | {
        option for _, command in subcommands() for parameter in command.params for option in parameter.opts
    }
    for page in pages:
        for command, options in re.findall(r"`medtrans (\w+)([^`]*)`", prose(page)):
            for option in re.findall(r"(?<!\S)--[\w-]+", options):
                assert option in known, f"{page}: medtrans {command} has no {option}"


def linked_from(page):
    """The pages that the page links to, relative to the root."""
    targets = ((ROOT / page).parent / target.split("#")[0] for _, target in LINK.findall(prose(page)))
    return {path.resolve().relative_to(ROOT).as_posix() for path in targets if path.suffix == ".md" and path.is_file()}


def test_every_bundle_recipe_and_task_is_linked_or_named():
    bundles = {path.parents[1].name for path in (ROOT / "bundles").glob("*/configs/train.json")}
    listed = linked_from("docs/bundles.md")
    assert {f"bundles/{name}/docs/README.md" for name in bundles} <= listed
    recipes = (ROOT / "data_prep/README.md").read_text()
    for recipe in (ROOT / "data_prep").glob("*.json"):
        assert f"`{recipe.name}`" in recipes
    tasks = prose("docs/simulation.md")
    for task in (ROOT / "tasks").glob("*.json"):
        assert f"`{task.name}`" in tasks


def test_every_page_is_reached_from_the_readme(pages):
    reached, new = set(), {"README.md"}
    while new:
        reached |= new
        new = {page for known in new for page in linked_from(known)} - reached
    assert set(pages) <= reached


def test_every_loss_is_in_the_catalogue():
    from medtrans.losses import available

    text = prose("docs/losses.md")
    assert [name for name in available() if f"`{name}`" not in text] == []


def test_commands_do_not_hide_in_blocks_without_a_language(pages, blocks_of):
    for page in pages:
        for language, text in blocks_of(page):
            if language != "bash":
                assert not re.search(r"^\s*(medtrans|python|torchrun|make) ", text, re.MULTILINE), f"{page}: {text}"


@pytest.mark.parametrize(
    "bundle_page",
    ["docs/configuration.md", "docs/bundles.md", "docs/troubleshooting.md"]
    + [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "bundles").glob("*/docs/README.md"))],
)
def test_settings_named_in_the_text_exist(bundle_page):
    configs = ROOT / (bundle_page.removesuffix("docs/README.md") if "README" in bundle_page else "bundles/medgan")
    files = [configs / "configs" / name for name in ("inference.json", "evaluate.json", "train.json", "three_d.json")]
    known = [[str(file)] for file in files[:2]] + [[str(file) for file in files[2:] if file.is_file()]]
    options = set(re.findall(r"`--([a-z_]+(?:#\w+)*)[ `]", prose(bundle_page))) - set(NOT_OF_A_CONFIG)
    for option in options | set(re.findall(r"`([a-z_]+(?:#\w+)+)`", prose(bundle_page))):
        assert any(takes(config, option) for config in known), f"{bundle_page}: {option}"


def takes(files, option):
    """Whether the config, overlays included, has the option."""
    try:
        check_keys(files, {option: 1})
    except InputError:
        return False
    return True


@pytest.mark.parametrize("told_page", ["docs/troubleshooting.md", "docs/refused-scans.md"])
def test_messages_that_pages_explain_are_still_said(told_page):
    """The longest piece of each message without names and numbers stands in the source."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "medtrans").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that go on in the next line
    rows = re.findall(r"^\| (`.+?`)(?: \(.*?\))? \|", (ROOT / told_page).read_text(encoding="utf-8"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    messages = [m for m in messages if " " in m and not m.startswith("--")]
    assert len(messages) > 8
    for message in messages:
        pieces = VARIABLE.split(message)
        piece = max(pieces, key=len).strip(" .,:;")
        assert len(piece) >= 7, message
        assert piece in source, f"nothing says {piece!r} any more: {message}"

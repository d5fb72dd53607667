"""The catalog: what is found, what is chosen, and how a wrong file is reported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from watcher import catalog, faults, plan
from watcher.catalog import Catalog, FoundFault, read_coming, read_faults, read_file, select
from watcher.errors import FileError, UnknownName, UsageError
from watcher.judge import proofs
from watcher.model import Ending, Profile, Scenario
from watcher.model import Path as ModelPath

MANIFEST = """
[build]
kind = "python"
lock = "requirements.lock"

[[stack]]
name = "mine"
description = "a client of my own"
language = "python"
library = "mine"
version = "1.0"
command = ["{environment}/bin/python", "{folder}/watch.py"]
profiles = ["default", "retry"]
default_source = "https://example.org/readme"
memory_mib = 40
"""
SCENARIO = """
description = "a scenario of my own"
path = "direct"
fault = "blackhole"

[proof]
before = ["flow-cut"]
"""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    folder = tmp_path / "my-client"
    folder.mkdir()
    (folder / "client.toml").write_text(MANIFEST)
    return folder


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "my-scenario.toml"
    file.write_text(SCENARIO)
    return file


def test_what_is_to_come_is_no_stack(tmp_path: Path) -> None:
    """A library without a program is planned and fails; or its place stays marked when it has long come."""
    assert [each.language for each in Catalog.load().coming] == [".NET"]
    file = tmp_path / "dotnet" / "to-come.toml"
    file.parent.mkdir()
    file.write_text('language = ".NET"\nlibrary = "KubernetesClient"\n')
    (found,) = read_coming(tmp_path)
    assert (found.library, found.protocol) == ("KubernetesClient", "watch")
    (file.parent / "client.toml").write_text(MANIFEST)
    with pytest.raises(FileError, match="is there already"):
        read_coming(tmp_path)


def changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_the_profiles_are_the_documented_ones() -> None:
    """A number slipped: everybody copies a keepalive setting that was never measured."""
    settings = {
        name: profile.settings.model_dump(exclude_none=True, exclude_defaults=True)
        for name, profile in Catalog.load().profiles.items()
    }
    keepalive = {
        "keepalive": True,
        "keepalive_idle_seconds": 30,
        "keepalive_interval_seconds": 10,
        "keepalive_count": 3,
    }
    retry = {"retry_seconds": 1}
    assert settings == {
        "default": {},
        "retry": retry,
        "tcp-keepalive-os": retry | {"keepalive": True},
        "tcp-keepalive": retry | keepalive,
        "tcp-user-timeout": retry | keepalive | {"user_timeout_seconds": 20},
        "read-timeout": retry | {"read_timeout_seconds": 45},
        "watch-timeout": retry | {"watch_timeout_seconds": 100},
        "bookmarks": retry | {"bookmarks": True},
        "http2-ping": retry | {"ping_idle_seconds": 20, "ping_timeout_seconds": 10},
        "ping": retry | {"ping_idle_seconds": 10, "ping_timeout_seconds": 10},
    }


def test_the_paths_have_their_documented_timeouts() -> None:
    """The lab's load balancer forgets at another time, or in another way, than the cloud's."""
    documented = {
        "direct": (None, "never"),
        "direct-server-180s": (None, "never"),
        "direct-leak": (None, "never"),
        "kube-proxy-iptables": (None, "never"),
        "kube-proxy-iptables-liberal": (None, "never"),
        "kube-proxy-nftables": (None, "never"),
        "headless": (None, "never"),
        "same-node": (None, "never"),
        "azure-slb": (240, "reset-both"),
        "azure-slb-observed": (240, "reset-both"),
        "azure-slb-reset-lost": (240, "reset-server"),
        "azure-slb-silent": (240, "silent"),
        "azure-private-link": (300, "silent"),
        "aws-nlb": (350, "reset-on-next-packet"),
        "aws-nat-gateway": (350, "reset-client-on-next-packet"),
        "gcp-vpc": (600, "blocked-until-outbound"),
        "haproxy-20s": (20, "close"),
        "haproxy-50s": (50, "close"),
        "proxy": (None, "never"),
        "ipvs": (900, "reset-client-on-next-packet"),
    }
    paths = Catalog.load().paths
    assert {name: (paths[name].idle_timeout_seconds, str(paths[name].ending)) for name in documented} == documented
    observed = paths["azure-slb-observed"]
    assert (observed.idle_timeout_seconds or 0) + observed.end_delay_seconds == 262.6, "as the captures show"


def test_what_conntrack_calls_invalid_has_its_own_end_on_two_paths() -> None:
    """A path that is to leak such a packet drops it, and the report's scenario shows nothing."""
    known = {name: str(path.invalid_packets) for name, path in Catalog.load().paths.items()}
    assert {name: way for name, way in known.items() if way != "drop"} == {
        "direct-leak": "forward",
        "kube-proxy-iptables-liberal": "liberal",
    }


def test_every_file_explains_itself() -> None:
    """`watcher list` shows a name without a word, or a setting that nobody gave a reason for."""
    for kind in ("profiles", "paths", "scenarios"):
        files = list((catalog.PACKAGE / kind).glob("*.toml"))
        assert files
        for file in files:
            content = tomllib.loads(file.read_text())
            assert len(content["description"]) > 20, file.name
            assert "\n" not in content["description"], file.name
            assert file.read_text().startswith("# "), f"{file.name} has no comment that says why"
            assert "name" not in content, file.name
    for name, explanation in Catalog.load().faults.items():
        assert len(explanation) > 20, name


def test_every_path_names_its_source_and_every_thread_is_an_address() -> None:
    """A timeout cannot be checked against the cloud's own documentation."""
    loaded = Catalog.load()
    for path in loaded.paths.values():
        assert path.source.startswith("https://"), path.name
    for scenario in loaded.scenarios.values():
        assert all(thread.startswith("https://github.com/") for thread in scenario.threads), scenario.name
        proof = {*scenario.proof.before, *scenario.proof.after}
        assert proof - {"new-connections-work"}, f"{scenario.name} is believed without proof of its own"
        assert scenario.proof.after, f"{scenario.name} is believed without a look at the touch"


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("scenario", ["control", "blackhole"])
def test_inside_a_cluster_the_same_is_asked_and_proved(scenario: str, mode: str) -> None:
    """Else a difference to the scenario outside could come from another gap or a weaker proof than from kube-proxy."""
    catalog = Catalog.load()
    outside, inside = catalog.scenarios[scenario], catalog.scenarios[f"{scenario}-kube-proxy-{mode}"]
    assert inside.path == str(catalog.paths[inside.path].balancer) == f"kube-proxy-{mode}"
    assert inside.proof == outside.proof
    for field in ("fault", "gap_seconds", "quiet_seconds", "window_seconds"):
        assert getattr(inside, field) == getattr(outside, field)


def test_the_negative_controls_differ_from_their_report_in_one_thing() -> None:
    """Else it is another gap, proxy or server that makes the difference, and not what the column says."""
    catalog = Catalog.load()
    report = catalog.scenarios["pod-deleted-kube-proxy-iptables"]
    differs = {"name", "description", "source"}
    for name, path, place in (
        ("pod-deleted-headless", "headless", "headless"),
        ("pod-deleted-same-node", "same-node", "same_node"),
    ):
        scenario = catalog.scenarios[name]
        assert scenario.path == path
        for field in ("gap_seconds", "window_seconds", "backend"):
            assert getattr(scenario, field) == getattr(report, field)
        assert scenario.proof.after == report.proof.after
        plain = catalog.paths[report.path].model_copy(update={place: True})
        assert catalog.paths[path].model_dump(exclude=differs) == plain.model_dump(exclude=differs)
    headless = catalog.scenarios["pod-deleted-headless"]
    assert (headless.fault, headless.proof) == (report.fault, report.proof)


@pytest.mark.parametrize("place", ["headless", "same_node"])
def test_a_pods_place_needs_a_cluster_and_a_pod(place: str, tmp_path: Path) -> None:
    """A path says "headless", and its clients come by the virtual address all the same."""
    file = tmp_path / "mine.toml"
    file.write_text(f'description = "mine"\n{place} = true\nsource = "my own"\n')
    with pytest.raises(FileError, match="balancer must be a kube-proxy"):
        Catalog.load(paths=[file])
    name = place.replace("_", "-")
    text = (catalog.PACKAGE / "scenarios" / f"pod-deleted-{name}.toml").read_text()
    shared = tmp_path / "shared.toml"
    shared.write_text(text.replace('backend = "own"\n', ""))
    with pytest.raises(FileError, match="one pod of the scenario's own"):
        Catalog.load(scenarios=[shared])


def test_a_scenario_cannot_take_the_servers_keepalive_from_kube_proxy(tmp_path: Path) -> None:
    """Its results would name a server side that kube-proxy never sent the client to."""
    text = (catalog.PACKAGE / "scenarios" / "control-kube-proxy-nftables.toml").read_text()
    file = tmp_path / "quiet-server.toml"
    file.write_text(text.replace('fault = "none"', 'fault = "none"\nserver_keepalive = "off"'))
    with pytest.raises(FileError, match="leads to the API server itself"):
        Catalog.load(scenarios=[file])


def test_scenarios_differ_from_their_server_keepalive_twin_in_nothing_else() -> None:
    """`azure-slb-server-180s` measures something else than the server's keepalive."""
    scenarios = Catalog.load().scenarios
    twins = [name for name in scenarios if name.endswith("-server-180s")]
    assert twins
    for name in twins:
        own = {"name", "description", "server_keepalive", "threads"}
        base = scenarios[name.removesuffix("-server-180s")]
        assert scenarios[name].model_dump(exclude=own) == base.model_dump(exclude=own)
        assert scenarios[name].server_keepalive == "180s"


def test_faults_are_found_by_the_names_that_the_runner_loads() -> None:
    """A scenario passes the catalog's check and then fails in the middle of a run."""
    loaded = Catalog.load().faults
    assert set(loaded) == set(faults.names())
    assert {"none", "idle-expiry", "blackhole"} <= set(loaded)


def test_order_begins_with_what_the_rest_is_read_against() -> None:
    """The first column is some scenario, the first row some profile: nobody finds the control."""
    loaded = Catalog.load()
    assert next(iter(loaded.scenarios)) == "control"
    assert list(loaded.profiles)[:2] == ["default", "retry"]


def test_a_users_own_client_and_scenario_are_found(client: Path, scenario: Path) -> None:
    """`--client` and `--scenario` do nothing: one has to fork the repository."""
    loaded = Catalog.load([client], [scenario])
    found = loaded.stacks["mine"]
    assert found.folder == client
    assert found.build.lock == "requirements.lock"
    assert found.stack.protocol == "watch"
    assert loaded.scenarios["my-scenario"].fault == "blackhole"
    assert "mine" not in Catalog.load().stacks


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("memory_mib = 40", "", "stack[0].memory_mib", "is missing"),
        ("memory_mib = 40", "memory_mib = 40\nretries = 3", "stack[0].retries", "unknown key"),
        ("memory_mib = 40", "memory_mib = 'much'", "stack[0].memory_mib", "found 'much'"),
        ("memory_mib = 40", "memory_mib = -1", "stack[0].memory_mib", "greater than 0"),
        ('lock = "requirements.lock"', "", "build", "needs a lock"),
        ("{folder}/watch.py", "{foldr}/watch.py", "stack[0].command", "{foldr} is not known"),
        ('kind = "python"', 'kind = "cobol"', "build.kind", "there are cargo, go"),
        ('"retry"]', '"retyr"]', "stack[0].profiles", "unknown profile 'retyr'"),
        ('name = "mine"', 'name = "Mine!"', "stack[0].name", "pattern"),
        ("[build]", "[bulid]", "build", "is missing"),
        ("[build]", "[build", None, "is not TOML"),
    ],
)
def test_a_wrong_manifest_is_named_with_its_key(client: Path, old: str, new: str, key: str | None, said: str) -> None:
    """A typing error in a manifest ends in a traceback, or is ignored and something else is measured."""
    file = changed(client / "client.toml", old, new)
    with pytest.raises(FileError) as caught:
        Catalog.load([client])
    assert caught.value.file == str(file)
    assert caught.value.key == key
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_error_in_one_table_is_not_followed_by_the_whole_manifest(client: Path) -> None:
    """Who reads that a list is too short, with all of it printed, does not find the line that matters."""
    changed(client / "client.toml", "memory_mib = 40", "memory_mib = 40\nretries = 3")
    with pytest.raises(FileError) as caught:
        Catalog.load([client])
    assert "at least 1 item" not in str(caught.value)


def test_a_client_that_is_built_already_needs_no_lock(client: Path) -> None:
    """A client may be in any language; a Go program has no Python environment to make."""
    from watcher.programs import environments

    changed(client / "client.toml", 'kind = "python"\nlock = "requirements.lock"', 'kind = "none"')
    found = Catalog.load([client]).stacks["mine"]
    assert environments.is_built(found.folder, found.build)
    assert environments.environment_for(found.folder, found.build) == client


def test_a_path_of_ones_own(tmp_path: Path, scenario: Path) -> None:
    """ "My load balancer forgets after 100 s" is the first thing that an operator wants to try."""
    mine = tmp_path / "my-balancer.toml"
    mine.write_text('description = "mine"\nidle_timeout_seconds = 100.0\nending = "silent"\nsource = "my own"\n')
    changed(scenario, 'path = "direct"', 'path = "my-balancer"')
    loaded = Catalog.load(scenarios=[scenario], paths=[mine])
    assert loaded.paths[loaded.scenarios["my-scenario"].path].idle_timeout_seconds == 100
    with pytest.raises(FileError, match="my-balancer"):
        Catalog.load(scenarios=[scenario])


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('path = "direct"', "", "path", "is missing"),
        ('path = "direct"', 'path = "drect"', "path", "did you mean 'direct'"),
        ('fault = "blackhole"', 'fault = "blackhloe"', "fault", "did you mean 'blackhole'"),
        ('fault = "blackhole"', 'fault = "blackhole"\ngap_second = 3', "gap_second", "did you mean 'gap_seconds'"),
        ('before = ["flow-cut"]', 'befor = ["flow-cut"]', "proof.befor", "did you mean 'before'"),
        ('path = "direct"', 'path = "direct"\nname = "other"', "name", "must not be given"),
        ('path = "direct"', 'path = "direct"\ngap_seconds = nan', "gap_seconds", "finite"),
        ('path = "direct"', 'path = "direct"\ngap_seconds = -1', "gap_seconds", "greater than or equal to 0"),
    ],
)
def test_a_wrong_scenario_is_named_with_its_key(scenario: Path, old: str, new: str, key: str, said: str) -> None:
    """A misspelt key keeps its default, and the user believes a measurement that was never made."""
    changed(scenario, old, new)
    with pytest.raises(FileError) as caught:
        Catalog.load(scenarios=[scenario])
    assert caught.value.file == str(scenario)
    assert caught.value.key == key
    assert said in str(caught.value)


def test_all_problems_of_a_file_are_told_at_once(scenario: Path) -> None:
    """One runs the command once for every mistake in a file."""
    changed(scenario, 'path = "direct"', "nonsense = 1")
    with pytest.raises(FileError) as caught:
        Catalog.load(scenarios=[scenario])
    assert "path" in str(caught.value)
    assert "nonsense: unknown key" in str(caught.value)


def test_a_rule_between_keys_is_said_in_its_own_words(tmp_path: Path) -> None:
    """The message is pydantic's and tells a user nothing."""
    file = tmp_path / "half.toml"
    file.write_text('description = "half"\n[settings]\nkeepalive = true\nkeepalive_count = 3\n')
    with pytest.raises(FileError, match="keepalive needs all of") as caught:
        read_file(Profile, file)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize("name", ["Upper.toml", "two words.toml", "x" * 51 + ".toml", "under_score.toml"])
def test_a_file_name_that_is_no_name_is_an_error(tmp_path: Path, name: str) -> None:
    """A scenario gets a name that no command line and no folder of results can carry."""
    file = tmp_path / name
    file.write_text(SCENARIO)
    with pytest.raises(FileError, match="file's name"):
        read_file(Scenario, file)


def test_unreadable_files_are_errors_and_no_tracebacks(tmp_path: Path) -> None:
    """A missing or binary file ends in a traceback."""
    with pytest.raises(FileError, match="cannot be read"):
        Catalog.load(scenarios=[tmp_path / "absent.toml"])
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="UTF-8"):
        Catalog.load(scenarios=[binary])
    with pytest.raises(FileError, match="cannot be read"):
        read_file(Scenario, tmp_path)
    with pytest.raises(FileError, match=r"holds no client\.toml"):
        Catalog.load([tmp_path])


def test_a_name_given_twice_is_an_error(client: Path, tmp_path: Path) -> None:
    """A user's own scenario silently replaces the one that published results are about."""
    double = tmp_path / "control.toml"
    double.write_text(SCENARIO)
    with pytest.raises(FileError, match="a scenario 'control' already"):
        Catalog.load(scenarios=[double])
    with pytest.raises(FileError, match="a stack 'mine' already"):
        Catalog.load([client, client])


def test_names_are_chosen_by_comma_lists_and_globs_in_the_order_asked_for() -> None:
    """The matrix shows other rows than asked for, or some of them twice."""
    names = ("control", "aws-nlb", "azure-slb", "azure-slb-silent")
    assert select("scenario", None, names) == names
    assert select("scenario", "azure-*, control", names) == ("azure-slb", "azure-slb-silent", "control")
    assert select("scenario", "azure-slb,azure-*", names) == ("azure-slb", "azure-slb-silent")
    assert select("scenario", "*", names) == names


def test_a_pattern_without_a_match_is_an_error_with_the_nearest_name() -> None:
    """A typing error makes a run smaller, and its cells are missing without a word."""
    with pytest.raises(UnknownName) as caught:
        select("profile", "default,tcp-keepalife", ("default", "tcp-keepalive"))
    assert caught.value.nearest == "tcp-keepalive"
    with pytest.raises(UnknownName):
        select("profile", "nothing-*", ("default",))
    with pytest.raises(UsageError, match="empty"):
        select("profile", " , ", ("default",))
    with pytest.raises(UsageError, match="no stack at all"):
        select("stack", None, ())


def test_a_fault_without_an_explanation_or_with_broken_source_is_an_error(tmp_path: Path) -> None:
    """A fault that cannot be loaded is only found in the middle of a run."""
    (tmp_path / "__init__.py").write_text("not python at all (")
    (tmp_path / "two_words.py").write_text('"""What goes wrong.\n\nMore."""\n')
    assert read_faults(tmp_path) == {
        "two-words": FoundFault("What goes wrong.", blocks_connections=False, answers_probes=False)
    }
    (tmp_path / "mute.py").write_text("x = 1\n")
    with pytest.raises(FileError, match=r"mute\.py: has no docstring"):
        read_faults(tmp_path)
    (tmp_path / "mute.py").write_text('"""Fine."""\ndef (')
    with pytest.raises(FileError, match="is not Python"):
        read_faults(tmp_path)


@pytest.mark.parametrize(
    ("line", "blocks"),
    [
        ("BLOCKS_CONNECTIONS = True", True),
        ("BLOCKS_CONNECTIONS: bool = True", True),
        ("BLOCKS_CONNECTIONS = False", False),
        ("def apply():\n    BLOCKS_CONNECTIONS = True", False),
        ("BLOCKS_CONNECTIONS = 1 == 1", None),
        ("BLOCKS_CONNECTIONS = 'yes'", None),
    ],
)
def test_what_a_fault_says_of_connections_is_read_and_not_run(tmp_path: Path, line: str, blocks: bool | None) -> None:
    """A fault of one's own that blocks connections is scaled all the same: its verdicts are those of no real time."""
    (tmp_path / "mine.py").write_text(f'"""What goes wrong."""\nimport nowhere_at_all\n{line}\n')
    if blocks is None:
        with pytest.raises(FileError, match=r"mine\.py: BLOCKS_CONNECTIONS: must be True or False"):
            read_faults(tmp_path)
    else:
        assert read_faults(tmp_path)["mine"].blocks_connections is blocks


DOCUMENT = (catalog.PACKAGE.parent / "docs" / "scenarios.md").read_text()


def table(heading: str) -> dict[str, str]:
    """The rows of the first table beneath a heading: what stands in backticks first, then its text."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("| `")]
    return {name: text for names, text in rows for name in re.findall(r"`([^`]+)`", names)}


def test_the_document_has_every_fault_in_its_own_words() -> None:
    """A user with a scenario of their own does not find the fault that they need."""
    documented = table("Faults")
    missing = [f"| `{name}` | {text} |" for name, text in Catalog.load().faults.items() if documented.get(name) != text]
    assert not missing, "add to docs/scenarios.md:\n" + "\n".join(missing)
    assert set(documented) == set(faults.names()), "the document has a fault that does not exist"


def test_the_document_has_every_proof_and_the_proofs_of_scenarios_exist() -> None:
    """A user cannot say what must be seen, or a scenario cannot be run at all."""
    documented = table("Proofs")
    assert set(documented) == set(proofs.PROOFS)
    for scenario in Catalog.load().scenarios.values():
        assert {*scenario.proof.before, *scenario.proof.after} <= set(proofs.PROOFS), scenario.name


@pytest.mark.parametrize(("heading", "model"), [("A path", ModelPath), ("A scenario", Scenario)])
def test_the_document_has_every_key(heading: str, model: type[BaseModel]) -> None:
    """A key that nobody knows of is not used."""
    documented = {key.strip("[]") for key in table(heading)} - set(Ending)
    assert documented == set(model.model_fields) - {"name"}


def test_the_document_has_every_ending() -> None:
    """Somebody whose path ends flows in a way that exists describes another one."""
    assert set(Ending) - {Ending.NEVER} <= set(table("A path"))


def test_a_scenario_is_one_file(tmp_path: Path) -> None:
    """Adding one would need a list, a test or a document to be changed as well: then few are added."""
    shipped = Catalog.load()
    files = []
    for name in shipped.scenarios:
        file = tmp_path / f"my-{name}.toml"
        file.write_text((catalog.PACKAGE / "scenarios" / f"{name}.toml").read_text())
        files.append(file)
    mine = Catalog.load(scenarios=files).scenarios
    stack, profile = shipped.stacks["python-urllib3"].stack, shipped.profiles["default"]
    for name, scenario in shipped.scenarios.items():
        same = mine[f"my-{name}"]
        assert same.model_dump(exclude={"name"}) == scenario.model_dump(exclude={"name"})
        faults.check(same, shipped.paths[same.path])
        made = plan.make(plan.Choice([stack], [profile], [same], shipped.paths, {}))
        assert [cell.id.scenario for cell in made] == [same.name] * 3, "its two controls and its cell"

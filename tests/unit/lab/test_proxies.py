"""The proxies' configuration and what a run lacks for them, without HAProxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.lab import proxies, sandbox
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, PROXY_PORT, Server
from watcher.lab.control_plane import haproxy
from watcher.lab.proxies import API_SERVER, Way


def ways(*idle_timeouts: float | None) -> list[Way]:
    return [Way(idle, API_SERVER) for idle in idle_timeouts]


def sections(wanted: list[Way]) -> list[list[list[str]]]:
    """The words of each line of each ``listen`` section."""
    text = haproxy.fronts(proxies.fronts(wanted), most=100, admin=Path("/run/admin.sock"))
    assert "stats socket /run/admin.sock mode 600 level admin" in text
    return [[line.split() for line in part.splitlines()] for part in text.split("\nlisten ")[1:]]


def test_each_listener_has_its_own_timeout_on_both_sides() -> None:
    """With one side's alone HAProxy closes at another time, or half."""
    made = sections(ways(2.0, 0.5, None))
    for number, (lines, timeout) in enumerate(zip(made, ["2000ms", "500ms", haproxy.QUIET], strict=True)):
        assert ["bind", f"{API_ADDRESS}:{PROXY_PORT + number}"] in lines
        assert ["timeout", "client", timeout] in lines
        assert ["timeout", "server", timeout] in lines
        assert [line[2] for line in lines if line[0] == "server"] == [f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"]
    assert len({lines[0][0] for lines in made}) == 3, "HAProxy refuses two sections of one name"


def test_servers_have_listeners_of_their_own() -> None:
    """A client of another protocol would be led to the API server, and be called deaf for what that answers."""
    made = sections([*ways(2.0), Way(2.0, Server("10.0.0.9", 99))])
    led = [[line[2] for line in lines if line[0] == "server"] for lines in made]
    assert led == [[f"{API_ADDRESS}:{API_KEEPALIVE_PORT}"], ["10.0.0.9:99"]]
    assert len({lines[0][0] for lines in made}) == 2, "HAProxy refuses two sections of one name"


def test_the_proxy_sends_no_probes_and_answers_for_nobody() -> None:
    """Its keepalive would find what the client's was to find."""
    text = haproxy.fronts(proxies.fronts(ways(2.0)), most=100)
    lines = [line.split() for line in text.splitlines()]
    assert {"clitcpka", "srvtcpka"} == {line[2] for line in lines if line[:2] == ["no", "option"]}
    assert not [line for line in lines if line[:1] == ["option"] and "tcpka" in line[1]]
    assert ["mode", "tcp"] in lines
    assert "stats socket" not in text


def test_a_missing_proxy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cell that is left out must say what to do about it, and none may be left out that could be run."""
    monkeypatch.setattr(sandbox, "SYSTEM_FOLDERS", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert haproxy.missing() == "needs haproxy: apt-get install haproxy"
    (tmp_path / "haproxy").touch(mode=0o755)
    assert haproxy.missing() is None, "an ordinary user's PATH need not name the system's folders"

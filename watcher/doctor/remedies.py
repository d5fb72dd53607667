"""What to do about it: texts that a user can follow word by word."""

from __future__ import annotations


def install(package: str, *, root: bool) -> str:
    """One package of Debian and Ubuntu; the name is nearly everywhere the same."""
    command = f"apt-get update && apt-get install -y {package}"
    return command if root else f"An administrator runs: {command}"


def set_for_good(setting: str, value: int, *, or_root: bool) -> str:
    """A sysctl now and after the next start."""
    text = (
        f"An administrator runs: sysctl -w {setting}={value}\n"
        f"and, to keep it: echo '{setting} = {value}' > /etc/sysctl.d/60-watcher.conf"
    )
    return f"{text}\nor run as root, which needs no user namespace: sudo make matrix" if or_root else text


def a_permissive_container() -> str:
    """The defaults of Docker and of Kubernetes forbid what the lab is made of."""
    return (
        "Start the container with: docker run --privileged (podman run --privileged), and run as root inside;\n"
        "in a pod: securityContext.privileged: true. The lab stays in its own namespaces all the same.\n"
        "Where that is not allowed, use a virtual machine."
    )


def a_linux_machine() -> str:
    """Where the machine is no Linux: the shortest way to one."""
    return (
        "Use a Linux virtual machine, for example with Lima (brew install lima):\n"
        "  limactl start --name=watcher template://debian\n"
        "  limactl shell watcher\n"
        "and in it, from the folder of this checkout (Lima shows your home folder, read-only, so copy it):\n"
        "  sudo apt-get update && sudo apt-get install -y make nftables iproute2 python3-venv\n"
        "  cp -r . ~/watcher && cd ~/watcher && make matrix\n"
        "Multipass and Colima do as well; on Ubuntu run `sudo make matrix`, since it restricts user namespaces.\n"
        "Or in a container: docker run --privileged -it debian, and the same in it as root."
    )

"""Starts a program that dies with its parent, however that ends: ``tether.py PARENT PROGRAM ARGUMENT…``.

The kernel's parent-death signal outlives exec, and is asked for here, in a process of its own, because doing so
between fork and exec of a process that has threads is not safe. Run as a file with ``-I -S``, so that it is quick and
imports nothing of anybody's.
"""

import os
import sys

PR_SET_PDEATHSIG = 1
SIGKILL = 9


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
        # It may have died before it was asked to tell us so.
        if os.getppid() != parent:
            os._exit(SIGKILL + 128)
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell: that is the point
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        os._exit(126)


if __name__ == "__main__":
    main()

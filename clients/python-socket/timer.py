"""Listen to a timer server with a plain socket; what it reads and prints: CONTRACT.md."""

from contract import emit, observed, run


def listen(connection):
    with connection.makefile() as lines:
        for number, line in enumerate(lines):
            if number == 0:
                emit("watching")
            observed(line)


run(listen)

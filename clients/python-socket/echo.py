"""Talk to an echo server with a plain socket, a line every so many seconds; what it reads and prints: CONTRACT.md."""

import time

from contract import emit, number, observed, run


def talk(connection):
    with connection.makefile() as answers:
        count = 0
        while True:
            count += 1
            connection.sendall(f"message {count}\n".encode())
            answer = answers.readline()
            if not answer:
                return
            if count == 1:
                emit("watching")
            observed(answer)
            time.sleep(number("INTERVAL_SECONDS"))


run(talk)

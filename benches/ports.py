"""Ports for the servers that are measured."""
import random
import socket

GIVEN = set()


def free_port():
    """Returns a port below the ephemeral range, free for datagrams and streams; each once."""
    while True:
        port = random.randrange(15_000, 32_000)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        if port not in GIVEN:
            GIVEN.add(port)
            return port

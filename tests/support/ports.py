"""Ports of loopback that nobody listens on, for programs that are about to.

    client, peer, http = free_ports(3)
"""
import pathlib
import random
import socket

_FIRST = 10_000


def free_ports(count):
    """Below the range from which the kernel gives ports to whoever asks for any: others do so until ours are listened on."""
    first_of_kernel = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    sockets = {}  # all open until the end: none comes twice
    while len(sockets) < count:
        port = random.randrange(_FIRST, first_of_kernel) if first_of_kernel > 2 * _FIRST else 0
        try:
            server = socket.create_server(("127.0.0.1", port))
        except OSError:
            continue  # somebody listens there
        sockets[server.getsockname()[1]] = server
    for server in sockets.values():
        server.close()
    return list(sockets)

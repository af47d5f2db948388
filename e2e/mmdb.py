"""Writes a file of MaxMind's format, version 2, with records of 24 bits: enough for a database of a few networks."""

import ipaddress
import struct

MARKER = b"\xab\xcd\xefMaxMind.com"


def control(kind, size):
    """The head of a value of less than 285 bytes or items."""
    small, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([small, kind - 7]) if kind > 7 else bytes([kind << 5 | small])) + more


def encode(value):
    if isinstance(value, str):
        return control(2, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        return control(6, 4) + struct.pack(">I", value)
    if isinstance(value, dict):
        return control(7, len(value)) + b"".join(encode(part) for pair in value.items() for part in pair)
    return control(11, len(value)) + b"".join(encode(item) for item in value)


def database(kind, networks):
    """The bytes of a database: records by network, such as "81.2.69.0/24"."""
    nodes, data = [[None, None]], b""
    for network, record in networks.items():
        network = ipaddress.ip_network(network)
        bits = network.prefixlen + (96 if network.version == 4 else 0)
        address, node = int(network.network_address), 0
        for depth in range(bits):
            side = address >> (127 - depth) & 1
            if depth + 1 == bits:
                nodes[node][side] = ("data", len(data))
            elif nodes[node][side] is None:
                nodes.append([None, None])
                nodes[node][side] = len(nodes) - 1
            if depth + 1 < bits:
                node = nodes[node][side]
        data += encode(record)

    def written(record):
        number = len(nodes) if record is None else record
        if isinstance(number, tuple):
            number = len(nodes) + 16 + number[1]
        return number.to_bytes(3, "big")

    tree = b"".join(written(record) for node in nodes for record in node)
    metadata = {"binary_format_major_version": 2, "database_type": kind, "ip_version": 6,
                "node_count": len(nodes), "record_size": 24}
    return tree + bytes(16) + data + MARKER + encode(metadata)

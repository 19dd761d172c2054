#!/usr/bin/env python3
"""A row for each port on which a program listens, from /proc alone. Needs Python 3.6 and Linux."""

import datetime
import ipaddress
import json
import os
import sys

# State of a socket that listens, by protocol: TCP_LISTEN, and TCP_CLOSE, in which an unconnected UDP socket is.
LISTENS = {"tcp": "0A", "udp": "07"}


def main():
    parameters = json.load(sys.stdin)["parameters"]
    with open(3, "w", encoding="utf-8") as events:

        def tell(**event):
            print(json.dumps(event), file=events, flush=True)

        owners, hidden = programs()
        if hidden:
            tell(log={"level": "info", "message": "programs of other users cannot be told: not run as root"})
        seen = set()
        for protocol in parameters["protocols"]:
            for address, port, inode in sockets(protocol):
                key = "%s/%s/%d" % (protocol, address, port)
                if key in seen or address.is_loopback and not parameters["loopback"]:
                    continue
                seen.add(key)
                pid, name, since = owners.get(inode, (None, None, None))
                tell(row={
                    "key": key, "name": "%s %d" % (protocol, port), "port": port, "protocol": protocol, "address": str(address),
                    "program": name, "pid": pid, "loopback": address.is_loopback, "since": since,
                })


def sockets(protocol):
    """Yields address, port and inode of the sockets that listen."""
    for table in (protocol, protocol + "6"):
        try:
            lines = open("/proc/net/" + table, encoding="ascii").readlines()[1:]
        except FileNotFoundError:  # no IPv6
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENS[protocol]:
                address, port = fields[1].split(":")
                yield readable(address), int(port, 16), fields[9]


def readable(text):
    """The kernel writes addresses in words of 32 bits, each in the order of this computer's own bytes."""
    words = [bytes.fromhex(text[i:i + 8]) for i in range(0, len(text), 8)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return ipaddress.ip_address(b"".join(words))


def programs():
    """Maps inodes of sockets to (pid, name, since); hidden says that some processes do not let us look."""
    found, hidden = {}, False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir("/proc/%s/fd" % pid)
            with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as comm:
                name = comm.read().strip()
            with open("/proc/%s/stat" % pid, "rb") as stat:  # the name, in parentheses, may hold anything
                ticks = int(stat.read().rpartition(b")")[2].split()[19])
        except PermissionError:
            hidden = True
            continue
        except OSError:  # it has ended
            continue
        for descriptor in descriptors:
            try:
                target = os.readlink("/proc/%s/fd/%s" % (pid, descriptor))
            except OSError:
                continue
            if target.startswith("socket:["):
                found[target[8:-1]] = (int(pid), name, begun(ticks))
    return found, hidden


def begun(ticks):
    """Turns clock ticks since the start of the computer into a time."""
    with open("/proc/stat", encoding="ascii") as stat:
        started = next(int(line.split()[1]) for line in stat if line.startswith("btime "))
    seconds = started + ticks // os.sysconf("SC_CLK_TCK")
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A switch with slow cables between network namespaces: each frame arrives a set time after it was sent.

  cable.py DELAY_US RATE_MBIT NAMESPACE...

Gives each namespace, in order, the device `cable` with the address 10.77.0.1, 10.77.0.2, ... and prints "ready". A cable
sends RATE_MBIT at most (the kernel's token bucket) and delays by DELAY_US each way. Needs root and /dev/net/tun; ends with 77
where that is not permitted. For kernels without netem, and the same on all.
"""
import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
TAP, NO_INFO = 2, 0x1000
MTU = 8000  # fewer frames a second for this program to move
BROADCAST = b"\xff" * 6


def tap(namespace, number, rate):
    """The descriptor that carries the frames of a new device in the namespace."""
    name = f"lpc{os.getpid() % 100000}{number}"
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | NO_INFO))
    inside = ["ip", "-n", namespace]
    for command in (["ip", "link", "set", name, "netns", namespace, "name", "cable"],
                    inside + ["link", "set", "cable", "mtu", str(MTU), "address", f"02:00:00:00:00:{number:02x}"],
                    inside + ["addr", "add", f"10.77.0.{number}/24", "dev", "cable"],
                    inside + ["link", "set", "cable", "up"],
                    ["tc", "-n", namespace, "qdisc", "add", "dev", "cable", "root", "tbf", "rate", f"{rate}mbit",
                     "burst", "16kb", "latency", "2000ms"]):
        subprocess.run(command, check=True)
    return fd


def main():
    delay, rate, namespaces = float(sys.argv[1]) * 1e-6, sys.argv[2], sys.argv[3:]
    try:
        ports = [tap(ns, i + 1, rate) for i, ns in enumerate(namespaces)]
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 77
    port_of = {bytes([2, 0, 0, 0, 0, i + 1]): fd for i, fd in enumerate(ports)}
    print("ready", flush=True)
    waiting = collections.deque()  # (when, port, frame), in order of time: every frame waits equally long
    while True:
        left = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for fd in select.select(ports, [], [], left)[0]:  # epoll would round up to a millisecond
            for _ in range(64):
                try:
                    frame = os.read(fd, MTU + 64)
                except BlockingIOError:
                    break
                when, to = time.monotonic() + delay, frame[:6]
                for port in [port_of[to]] if to in port_of else ports if to[0] & 1 else []:
                    if port != fd:
                        waiting.append((when, port, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, port, frame = waiting.popleft()
            try:
                os.write(port, frame)
            except OSError:  # the device is down or full: a frame is lost, as on any cable
                pass


if __name__ == "__main__":
    sys.exit(main())

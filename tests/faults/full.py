#!/usr/bin/env python3
"""Fills a small file system for real and checks that the ledger on it opens, reads, and goes on once there is room.

usage: full.py PROGRAM

PROGRAM is the example `append_under_faults`. Needs root, for mounting; says so and ends with 0 where it is not.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

# Room for the ledger's own reserve, and a good deal of events beside it.
DISK_BYTES = 24 << 20
BALLAST_BYTES = 4 << 20
THREADS, BATCHES, SEGMENT_BYTES, EVENT_BYTES = 3, 1_000_000, 256 << 10, 2000
AFTER = 20
SECONDS_MAX = 240


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    program = parser.parse_args().program.resolve()
    if os.geteuid() != 0:
        print("full.py: skipped: mounting a small file system takes root")
        return
    violations = 0
    with tempfile.TemporaryDirectory() as work:
        for kind in ["tmpfs", "ext4"]:
            point = pathlib.Path(work) / kind
            point.mkdir()
            try:
                mounted = mount(kind, point)
            except subprocess.CalledProcessError as e:
                print(f"{kind}: skipped: {e.stderr.decode(errors='replace').strip() or e}")
                continue
            with mounted:
                for odd in [0, 1, 511, 4096, 100_000]:
                    fault = fill(program, point, odd)
                    violations += fault is not None
                    if fault:
                        print(f"VIOLATION on {kind}, {odd} bytes off: {fault}")
    print(f"{violations} violations")
    sys.exit(1 if violations else 0)


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True)


@contextlib.contextmanager
def unmounted(point):
    try:
        yield
    finally:
        run("umount", point)


def mount(kind, point):
    if kind == "tmpfs":
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", point)
    else:
        image = point.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-m", "0", image)
        run("mount", "-o", "loop", image, point)
    return unmounted(point)


def program_on(program, command, ledger, first, batches, told=None):
    """Its exit status, what it said, and what it complained about."""
    args = [program, command, ledger, first, THREADS, batches, SEGMENT_BYTES, EVENT_BYTES]
    done = subprocess.run([str(arg) for arg in args], input=told, capture_output=True, timeout=SECONDS_MAX)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")[-1000:]


def fill(program, point, odd):
    """What is wrong after the file system was full. `odd` moves the place at which it is."""
    ledger, ballast = point / f"ledger-{odd}", point / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES + odd))
    try:
        status, told, why = program_on(program, "append", ledger, 0, BATCHES)
        if status != 3 or "full" not in why:
            return f"`append` ended with {status}, not because the disk was full: {why}"
        events = told.count(b"acknowledged")
        if events < 100:
            return f"only {events} events fitted"
        status, _, why = program_on(program, "check", ledger, 0, 0, told)
        if status != 0:
            return f"while it is full: {why}"
        ballast.unlink()
        status, more, why = program_on(program, "append", ledger, BATCHES, AFTER)
        if status != 0:
            return f"with room again: {why}"
        status, _, why = program_on(program, "check", ledger, BATCHES, AFTER, told + more)
        if status != 0:
            return f"at the end: {why}"
        print(f"{point.name}: full after {events} events; read while full; went on")
        return None
    finally:
        ballast.unlink(missing_ok=True)
        run("rm", "-rf", ledger)


if __name__ == "__main__":
    main()

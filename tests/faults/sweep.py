#!/usr/bin/env python3
"""Refuses or kills a real process at every file call that it makes, and checks each time that nothing acknowledged is lost.

usage: sweep.py PROGRAM [--every N]

PROGRAM is the example `append_under_faults`. strace counts the calls of each thread by itself: `when=N` fails the Nth of
its kind in whichever thread gets there. A violation ends with status 1; `--every N` tries only each Nth place.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

THREADS, BATCHES = 2, 20
# Enough for the slowest run under strace; whoever takes longer hangs.
SECONDS_MAX = 60
CALLS = {
    # What a full disk may answer; anything may answer EIO, and the process may be killed at any of them.
    "full": ["openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "renameat", "renameat2",
             "mkdir", "mkdirat", "fallocate"],
    "other": ["read", "pread64", "unlink", "unlinkat", "getdents64", "flock", "statx", "fstat", "newfstatat"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    program = args.program.resolve()
    need_strace()
    begin = time.monotonic()
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as work:
        work = pathlib.Path(work)
        counts = count_calls(program, work)
        if not finds(program, work / "sound" / "ledger"):
            sys.exit("the check finds nothing: an event that was never recorded passes for one that was")
        faults = [(call, kind, n) for call, (first, last) in counts.items() for kind in kinds(call)
                  for n in range(first, last + 1)][::args.every]
        calls = sum(last - first + 1 for first, last in counts.values())
        print(f"{len(counts)} kinds of calls, {calls} places, {len(faults)} faults")
        ends, violations = collections.Counter(), []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            for fault, (end, violation) in zip(faults, pool.map(lambda fault: one(program, work, *fault), faults)):
                ends[end] += 1
                if violation:
                    violations.append((fault, violation))
                    print(f"VIOLATION {fault}: {violation}", flush=True)
    print(f"{len(faults)} faults in {time.monotonic() - begin:.0f} s; the process " +
          ", ".join(f"{end}: {count}" for end, count in sorted(ends.items())))
    print(f"{len(violations)} violations")
    sys.exit(1 if violations else 0)


def need_strace():
    if shutil.which("strace"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing strace")
        subprocess.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends strace", shell=True,
                       check=True, stdout=subprocess.DEVNULL, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    else:
        sys.exit("strace is missing: please install it (Debian package strace)")


def kinds(call):
    return ["error=EIO", "signal=KILL"] + (["error=ENOSPC"] if call in CALLS["full"] else [])


def append_args(program, ledger):
    return [str(program), "append", str(ledger), "0", str(THREADS), str(BATCHES)]


def count_calls(program, work):
    """Of each kind, the first call that has to do with the ledger and the last one of the busiest thread."""
    trace, ledger = work / "trace", work / "sound" / "ledger"
    ledger.parent.mkdir()
    names = ",".join(CALLS["full"] + CALLS["other"])
    subprocess.run(["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={names}", *append_args(program, ledger)],
                   check=True, stdout=subprocess.DEVNULL, timeout=SECONDS_MAX)
    made, first, last, begun = collections.Counter(), {}, {}, False
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if not found:
            continue
        thread, call = found.groups()
        made[thread, call] += 1
        # Before that, the program is being loaded.
        begun = begun or str(ledger) in line
        if begun:
            first[call] = min(first.get(call, sys.maxsize), made[thread, call])
            last[call] = max(last.get(call, 0), made[thread, call])
    return {call: (first[call], last[call]) for call in sorted(last)}


def finds(program, ledger):
    """Whether the check tells an acknowledged event that is missing."""
    said = b"acknowledged tenant-0 0-0-0 1000000\n"
    command = [str(program), "check", str(ledger), "0", str(THREADS), str(BATCHES)]
    return subprocess.run(command, input=said, capture_output=True, timeout=SECONDS_MAX).returncode == 1


def one(program, work, call, kind, n):
    """A run with one fault, and what is wrong after it."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        ledger, told = pathlib.Path(folder) / "ledger", pathlib.Path(folder) / "told"
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                   "-e", f"inject={call}:{kind}:when={n}", *append_args(program, ledger)]
        try:
            with told.open("wb") as out:
                run = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return "hung", "the process neither answered nor ended"
        end = {0: "went on", 3: "gave up", -9: "was killed", 137: "was killed", 127: "did not start"}.get(run.returncode)
        if end is None:
            return f"ended with {run.returncode}", run.stderr.decode(errors="replace")[-2000:]
        with told.open("rb") as said:
            try:
                checked = subprocess.run([str(program), "check", str(ledger), "0", str(THREADS), str(BATCHES)],
                                         stdin=said, capture_output=True, timeout=SECONDS_MAX)
            except subprocess.TimeoutExpired:
                return end, "the check hung"
        return end, None if checked.returncode == 0 else checked.stderr.decode(errors="replace")[-2000:]


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The demo: runs the real commands, shows what they print, and sums up with figures read from them.

usage: demo.py --cairn BINARY [--data DIR]

The data directory stays. Run again, it takes up where it stopped: what is recorded is not done twice.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(os.path.relpath(pathlib.Path(__file__).parent))
PIPELINE = HERE / "pipeline.yaml"
QUESTION = "Tom has 3 boxes with 12 pencils each. He gives away 8 pencils. How many pencils does he have left?"


class Cairn:
    """The binary on one data directory."""

    def __init__(self, binary, data):
        self.binary, self.data = binary, data

    def command(self, args):
        return [str(self.binary), "--data", str(self.data), *map(str, args)]

    def show(self, *args, expect=0, lines=None):
        """Prints the command and what it says; stops the demo unless it ends as expected."""
        print(f"\n$ cairn {' '.join(quoted(a) for a in args)}", flush=True)
        if lines is None:
            code, text = subprocess.run(self.command(args)).returncode, ""
        else:
            done = subprocess.run(self.command(args), capture_output=True, text=True)
            code, text = done.returncode, done.stdout + done.stderr
            shown = text.splitlines()
            print("\n".join(shown[:lines]))
            if len(shown) > lines:
                print(f"… {len(shown) - lines} more lines")
        if code != expect:
            sys.exit(
                f"demo: the command ended with {code}, expected {expect}. Run again, the demo takes up where it stopped; "
                f"if the project's pages changed since, begin anew: rm -rf {self.data}"
            )
        return text

    def json(self, *args):
        done = subprocess.run(self.command(["--json", *args]), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"demo: cairn {' '.join(map(str, args))} failed: {done.stderr}")
        return json.loads(done.stdout.strip().splitlines()[-1])


def quoted(arg):
    text = str(arg)
    return f'"{text}"' if " " in text else text


def heading(text):
    print(f"\n\n== {text} ==", flush=True)


def measure(exam, task, metric):
    """One figure of an exam: value, standard error, n."""
    return exam["tasks"][task]["metrics"][metric]


def training(job):
    speed = job["tokens"] / (job["duration_ms"] / 1000)
    return f"{job['steps']} steps, {job['tokens']:,} tokens, {speed:,.0f} tokens/s, validation loss {job['validation_loss']:.3f}"


def shown(m, percent=False):
    error = m.get("standard_error")
    scale, unit = (100, "%") if percent else (1, "")
    value = f"{m['value'] * scale:.1f}{unit}" if percent else f"{m['value']:.3f}"
    return f"{value} ± {error * scale:.1f}" if percent and error is not None else value


def transcripts(cairn, exam, count=2):
    """A few answers, out of the artifact that keeps every sample."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "samples.jsonl"
        cairn.json("export", exam["tasks"]["answers"]["samples"], "--as", "file", "--to", file)
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows[:count]:
        print(f"  Q: {row['prompt'].strip()[:150]}…")
        print("  A: " + row["answer"].strip().replace("\n", "\n     ")[:400])
        print(f"  (right answer: {row['reference'].splitlines()[-1]}; exact match {row['scores']['exact_match']:.0f})\n")


def tamper(cairn):
    """Flips one byte in the middle of a copy's largest segment; the copy must not verify."""
    copy = pathlib.Path(str(cairn.data) + "-tampered")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(cairn.data, copy, ignore=shutil.ignore_patterns("projections", "artifacts"))
    segment = max((copy / "logs").rglob("*.frames"), key=lambda p: p.stat().st_size)
    at = segment.stat().st_size // 2
    with open(segment, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x01]))
    print(f"\none bit of byte {at} of {segment.relative_to(copy)} flipped, in a copy")
    found = Cairn(cairn.binary, copy).show("verify", expect=5, lines=8)
    shutil.rmtree(copy)
    return found


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cairn", required=True, type=pathlib.Path)
    options.add_argument("--data", type=pathlib.Path, default=pathlib.Path(".cairn-demo"))
    options = options.parse_args()
    cairn, began = Cairn(options.cairn.resolve(), options.data), time.monotonic()

    heading("From documents to a deployed model")
    if options.data.exists():
        print(f"going on in {options.data}: what is recorded is not done twice")
    cairn.show("run", PIPELINE)
    ran = time.monotonic() - began
    jobs = {job["name"]: job for job in cairn.json("run", PIPELINE)["jobs"]}
    summary = {name: job["summary"] for name, job in jobs.items()}

    heading("The same problems before and after fine-tuning")
    for who in ("base-exam", "tuned-exam"):
        print(f"{who}:")
        transcripts(cairn, summary[who])

    heading("Ask it")
    cairn.show("ask", "math-helper", QUESTION, "--temperature", 0.7, "--top-p", 0.9, "--seed", 17)

    heading("Curves, and the best on a task")
    cairn.show("curves", jobs["base"]["run"], lines=24)
    cairn.show("best", "--task", "answers", "--metric", "format_validity")

    heading("What is this deployment made of?")
    cairn.show("lineage", "math-helper", lines=40)

    heading("Can you prove it?")
    verified = cairn.show("verify", lines=12)
    found = tamper(cairn)

    heading("Hand it to somebody else")
    bundle = pathlib.Path(str(options.data) + "-bundle")
    shutil.rmtree(bundle, ignore_errors=True)
    cairn.show("export", "deployment:math-helper", "--to", bundle)
    Cairn(cairn.binary, "/nonexistent").show("verify", bundle, lines=12)

    base, tuned = summary["base-exam"], summary["tuned-exam"]
    status = cairn.json("status")
    heading("Summary (every figure measured in this run or read from its ledger)")
    rows = [
        ("documents ingested", sum(summary[name]["documents"] for name in ("problems", "pages", "exam-problems"))),
        ("documents rejected", sum(summary[name]["rejected"] for name in ("problems", "pages", "exam-problems"))),
        ("dataset", f"{summary['corpus']['dataset']}, {summary['corpus']['rows']:,} rows"),
        ("parameters", f"{summary['base']['parameters']:,}"),
        ("pretraining", training(summary["base"])),
        ("fine-tuning", training(summary["tuned"])),
        ("perplexity, 200 test problems", f"base {shown(measure(base, 'language', 'perplexity'))}, tuned {shown(measure(tuned, 'language', 'perplexity'))}"),
        ("answers in the required form", f"base {shown(measure(base, 'answers', 'format_validity'), True)}, tuned {shown(measure(tuned, 'answers', 'format_validity'), True)} (n = {measure(tuned, 'answers', 'format_validity')['n']}, ± standard error)"),
        ("exact match", f"base {shown(measure(base, 'answers', 'exact_match'), True)}, tuned {shown(measure(tuned, 'answers', 'exact_match'), True)}"),
        ("gate of the base model", f"{summary['base-gate']['summary']['outcome']}: {summary['base-gate']['reason']}"),
        ("gate of the tuned model", summary["tuned-gate"]["outcome"]),
        ("events in the ledger", f"{status['head']:,}"),
        ("one bit flipped in a copy", re.search(r"position \d+, file [^,]*", found)[0].replace("file ", "in ")),
        ("time", f"pipeline {ran:.0f} s, everything {time.monotonic() - began:.0f} s"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    print(f"\nThe data directory {options.data} stays. Next:")
    binary, data = options.cairn, options.data
    print(f"  {binary} --data {data} serve                          # GraphiQL, the events API, chat")
    print(f"  {binary} --data {data} reproduce {jobs['tuned']['run']}   # the same digests again")
    print(f"  {binary} init YOUR_DATA/ && {binary} run pipeline.yaml")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The same questions to Cairn and to MLflow, on the same machine in the same run.

MLflow is asked in its favourable form: its client in this process, straight on its SQLite store, no HTTP between. Cairn is
asked over HTTP, as its users ask it.

usage: peer.py --cairn BINARY [--runs N] [--params P] [--metrics M] [--points S] [--repeats R]

Needs the packages of requirements.txt beside this file.
"""
import argparse
import datetime
import http.client
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

BATCH = 256
PAGE = 50


def shape(args):
    """Runs as data: name, settings and the values of each metric, the same for both."""
    chance = random.Random(args.seed)
    for number in range(args.runs):
        config = {f"p{i}": round(chance.random(), 6) for i in range(args.params - 2)}
        config |= {"lr": 10 ** chance.uniform(-5, -2), "optimizer": chance.choice(["adamw", "sgd", "lion"])}
        curves = {f"m{i}": [chance.random() for _ in range(args.points)] for i in range(args.metrics - 1)}
        curves["loss"] = [8 / (1 + step) + chance.random() for step in range(args.points)]
        yield f"run-{number}", config, curves


class Cairn:
    """A server on a new data directory, asked over one connection that stays open."""

    def __init__(self, binary, folder):
        command = [binary, "--data", folder, "serve", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                break
        else:
            sys.exit("the server ended before it listened")
        self.connection = http.client.HTTPConnection(found[1], timeout=600)

    def post(self, path, body, kind):
        self.connection.request("POST", path, json.dumps(body), {"content-type": kind})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{path}: {answer.status}: {text[:2000].decode()}")
        return json.loads(text)

    def ask(self, query, **variables):
        answer = self.post("/graphql", {"query": query, "variables": variables}, "application/json")
        if "errors" in answer:
            sys.exit(f"{query}: {answer['errors']}")
        return answer["data"]

    def load(self, runs):
        batch, number, last = [], 0, None
        when = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).isoformat()

        def send():
            nonlocal batch, last
            if batch:
                last = self.post("/v1/events", batch, "application/cloudevents-batch+json")
            batch = []

        def add(kind, data):
            nonlocal number
            number += 1
            event = {"specversion": "1.0", "source": "bench", "id": str(number), "type": kind, "time": when, "data": data}
            batch.append(event)
            if len(batch) == BATCH:
                send()

        self.ids = []
        for name, config, curves in runs:
            run = str(uuid.uuid7() if hasattr(uuid, "uuid7") else uuid7())
            self.ids.append(run)
            add("cairn.training.run_started.v1", {"run": run, "method": "sft", "name": name, "config": config})
            for step, values in enumerate(zip(*curves.values()), 1):
                metrics = [{"name": metric, "value": value} for metric, value in zip(curves, values)]
                add("cairn.training.step_logged.v2", {"run": run, "step": step, "tokens": step * 1024, "metrics": metrics})
        send()
        self.ask("query($p: Position){coverage(atLeast: $p){position}}", p=last["events"][-1]["position"])

    def count(self):
        return self.ask("{runs(first: 1){totalCount}}")["runs"]["totalCount"]

    def filtered(self):
        return self.filtered_page(None)

    def filtered_page(self, after):
        page = self.ask(
            """query($after: String){runs(first: 50, after: $after, filter: "metrics.loss < 0.9 AND config.optimizer = 'adamw'",
               orderBy: "metrics.loss"){edges{node{id name}} pageInfo{endCursor hasNextPage}}}""", after=after)
        return page["runs"]

    def deep(self):
        page = self.filtered_page(None)
        while page["pageInfo"]["hasNextPage"]:
            after = page["pageInfo"]["endCursor"]
            page = self.filtered_page(after)
        return page

    def history(self):
        runs = [self.ids[len(self.ids) // 2]]
        return self.ask("query($r: [String!]){curves(runs: $r, metrics: [\"loss\"]){points{x value}}}", r=runs)

    def curves(self):
        runs = self.ids[:100]
        return self.ask("query($r: [String!]){curves(runs: $r, metrics: [\"loss\"]){points{x value}}}", r=runs)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def uuid7():
    """A UUID of version 7, for interpreters before 3.14."""
    value = (int(time.time() * 1000) << 80) | (7 << 76) | (random.getrandbits(12) << 64) | (2 << 62) | random.getrandbits(62)
    return uuid.UUID(int=value)


class MLflow:
    """MLflow's own client on a new SQLite store."""

    def __init__(self, folder):
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        self.experiment = self.client.create_experiment("bench", artifact_location=f"file://{folder}/artifacts")

    def load(self, runs):
        from mlflow.entities import Metric, Param

        self.ids = []
        for name, config, curves in runs:
            run = self.client.create_run(self.experiment, run_name=name).info.run_id
            self.ids.append(run)
            self.client.log_batch(run, params=[Param(key, str(value)) for key, value in config.items()][:100])
            points = [Metric(m, v, 0, s) for m, values in curves.items() for s, v in enumerate(values, 1)]
            for begin in range(0, len(points), 1000):
                self.client.log_batch(run, metrics=points[begin : begin + 1000])

    def pages(self, text, order):
        token = None
        while True:
            page = self.client.search_runs([self.experiment], text, max_results=PAGE, order_by=order, page_token=token)
            yield page
            token = page.token
            if not token:
                return

    def count(self):
        total, token = 0, None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            total, token = total + len(page), page.token
            if not token:
                return total

    def filtered(self):
        return next(self.pages("metrics.loss < 0.9 and params.optimizer = 'adamw'", ["metrics.loss ASC"]))

    def deep(self):
        for page in self.pages("metrics.loss < 0.9 and params.optimizer = 'adamw'", ["metrics.loss ASC"]):
            pass
        return page

    def history(self):
        return self.client.get_metric_history(self.ids[len(self.ids) // 2], "loss")

    def curves(self):
        return [self.client.get_metric_history(run, "loss") for run in self.ids[:100]]


QUESTIONS = [
    ("count all runs", "count"),
    ("filter and sort, first page of 50", "filtered"),
    ("filter and sort, all pages to the last", "deep"),
    ("one curve", "history"),
    ("one metric of 100 runs", "curves"),
]


def timed(ask, repeats):
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), max(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cairn", required=True)
    for name, number in [("runs", 1000), ("params", 100), ("metrics", 20), ("points", 20), ("repeats", 7), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=number)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cairn, peer = Cairn(args.cairn, f"{folder}/cairn"), MLflow(folder)
        begun = time.perf_counter()
        cairn.load(shape(args))
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        peer.load(shape(args))
        theirs = time.perf_counter() - begun
        if cairn.count() != args.runs or peer.count() != args.runs:
            sys.exit("the two do not hold the same runs")
        if len(cairn.filtered()["edges"]) != len(peer.filtered()):
            sys.exit("the two do not answer the same")
        print(f"{args.runs} runs x {args.params} params x {args.metrics} metrics x {args.points} points")
        print("| question | Cairn ms (max) | MLflow ms (max) | ratio |\n|---|---|---|---|")
        print(f"| record it all | {ours * 1e3:.0f} | {theirs * 1e3:.0f} | {theirs / ours:.1f} |")
        for what, name in QUESTIONS:
            # Interleaved, so that what else the machine does meets both.
            (a, a_max), (b, b_max) = timed(getattr(cairn, name), args.repeats), timed(getattr(peer, name), args.repeats)
            print(f"| {what} | {a * 1e3:.2f} ({a_max * 1e3:.2f}) | {b * 1e3:.2f} ({b_max * 1e3:.2f}) | {b / a:.1f} |")
        cairn.stop()


if __name__ == "__main__":
    main()

"""A small history with every kind of difficulty, sent to a server as any producer would send it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx

BEGIN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PROTOCOL = "11" * 32
OTHER_PROTOCOL = "22" * 32


def run_id(number: int) -> str:
    return f"019a0000-0000-7000-8000-{number:012x}"


def digest(number: int) -> str:
    return f"{number:064x}"


# Runs by what they are for.
BASE, TUNED, PREFERRED = run_id(1), run_id(2), run_id(3)
SEEDS = [run_id(number) for number in (11, 12, 13)]
LOOKALIKE, FAILED = run_id(21), run_id(22)
BASE_MODEL, TUNED_MODEL, UNEVALUATED = "model://lab/base@1", "model://lab/tuned@1", "model://lab/preferred@1"
CORPUS = "ds://lab/corpus@1.0.0"


@dataclass
class Seed:
    """What was sent, and where the parts of it stand."""

    events: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, data: dict[str, Any], at: datetime = BEGIN) -> None:
        self.events.append(
            {
                "specversion": "1.0",
                "type": f"cairn.{kind}",
                "source": "client-tests",
                "id": str(len(self.events)),
                "time": at.isoformat().replace("+00:00", "Z"),
                "project": "lab",
                "data": data,
            }
        )

    def send(self, http: httpx.Client, mark: str) -> None:
        """Sends what was added, and remembers the last position under a name."""
        body = json.dumps(self.events[self.positions.get("sent", 0) :])
        headers = {"content-type": "application/cloudevents-batch+json"}
        response = http.post("/v1/events", content=body, headers=headers)
        assert response.status_code < 300, response.text
        self.positions["sent"] = len(self.events)
        self.positions[mark] = _head(http)


def _head(http: httpx.Client) -> int:
    answer = http.post("/graphql", json={"query": "{ log { head } }"}).json()
    return int(answer["data"]["log"]["head"])


def started(into: Seed, run: str, name: str, method: str, **more: Any) -> None:
    into.add("training.run_started.v1", {"run": run, "name": name, "method": method, "dataset": CORPUS, **more})


def step(into: Seed, run: str, number: int, tokens: int, metrics: dict[str, Any]) -> None:
    values = [{"name": name, "value": value} for name, value in metrics.items()]
    at = BEGIN + timedelta(seconds=number)
    into.add("training.step_logged.v2", {"run": run, "step": number, "tokens": tokens, "metrics": values}, at)


def completed(into: Seed, run: str, steps: int) -> None:
    into.add("training.run_completed.v1", {"run": run, "steps": steps, "tokens": steps * 1024, "duration_ms": 1000})


def checkpoint(into: Seed, run: str, number: int) -> str:
    artifact = f"artifact:{digest(1000 + number)}"
    data = {"run": run, "step": number, "tokens": number * 1024, "checkpoint": artifact}
    into.add("training.checkpoint_saved.v1", {**data, "state_digest": digest(1), "weights_digest": digest(2)})
    return artifact


def base_loss(number: int) -> Any:
    """A falling loss with a spike at step 17 and no number at step 23."""
    return "NaN" if number == 23 else 99.0 if number == 17 else 4.0 - 0.05 * number


def evaluated(into: Seed, number: int, subject: str, value: float, protocol: str = PROTOCOL, **more: Any) -> None:
    measure = {"name": "exact_match", "value": value, "n": 200, "standard_error": 0.02, "higher_is_better": True}
    data = {
        "evaluation": f"eval:{run_id(100 + number)}",
        "subject": subject,
        "suite": "exam",
        "task": "answers",
        "slice": "all",
        "metrics": [measure],
        "protocol_digest": protocol,
        **more,
    }
    into.add("evaluation.completed.v1", data, BEGIN + timedelta(hours=number))


def training(into: Seed) -> None:
    config = {"optimizer": {"lr": 3e-4, "name": "adamw"}, "size": "1M", "recipe": "web", "layers": [1, 2]}
    started(into, BASE, "base", "pretrain", config=config, seed=1, steps_planned=40)
    for number in range(1, 41):
        step(into, BASE, number, number * 1024, {"loss": base_loss(number), "grad_norm": 1.0 / number})
    kept = [checkpoint(into, BASE, number) for number in (20, 40)]
    completed(into, BASE, 40)
    started(into, TUNED, "tuned", "sft", parent=BASE, config={"optimizer": {"lr": 1e-5}}, seed=2)
    into.add("training.run_forked.v1", {"run": TUNED, "from_run": BASE, "from_step": 40, "checkpoint": kept[-1]})
    for number in range(1, 11):
        step(into, TUNED, number, number * 512, {"loss": 2.0 - 0.1 * number})
    completed(into, TUNED, 10)
    started(into, PREFERRED, "preferred", "dpo", parent=TUNED, config={"beta": 0.1}, seed=3)
    step(into, PREFERRED, 1, 256, {"loss": 0.69})
    for at, run in enumerate(SEEDS, start=1):
        config = {"optimizer": {"lr": 2e-3}, "size": "150M", "recipe": "code"}
        started(into, run, f"code-150M-{at}", "pretrain", config=config, seed=at)
        for number in range(1, 11):
            step(into, run, number, number * 1024, {"loss": 4.0 - 0.1 * number + at})
        completed(into, run, 10)
    # Called like a fine-tuning of the base, but no parent is recorded.
    started(into, LOOKALIKE, "base-sft", "sft", config={}, seed=9)
    started(into, FAILED, 'it\'s "broken"', "pretrain", config={"odd key.with dot": 1}, seed=8)
    into.add("training.run_failed.v1", {"run": FAILED, "step": 0, "error": "out of memory"})


def scored(into: Seed, number: int, right: int) -> None:
    """The samples of an evaluation, of which the first so many are right."""
    for sample in range(200):
        metrics = [{"name": "exact_match", "value": float(sample < right)}]
        data = {"evaluation": f"eval:{run_id(100 + number)}", "sample": f"s{sample:03d}", "metrics": metrics}
        into.add("evaluation.sample_scored.v1", data)


def models(into: Seed) -> None:
    for model, run in ((BASE_MODEL, BASE), (TUNED_MODEL, TUNED)):
        data = {"model": model, "run": run, "parameters": 1_000_000, "weights_digest": digest(2), "dataset": CORPUS}
        into.add("model.version_registered.v1", data)
    into.add("model.alias_assigned.v1", {"alias": "production", "model": BASE_MODEL})
    deployment = {"deployment": "deployment:helper"}
    into.add("deployment.created.v1", {**deployment, "target": "local"})
    into.add("deployment.promoted.v1", {**deployment, "model": BASE_MODEL, "weights_digest": digest(2)})


def fill(url: str) -> Seed:
    """Fills an empty server."""
    seed = Seed()
    with httpx.Client(base_url=url, timeout=60) as http:
        training(seed)
        models(seed)
        evaluated(seed, 1, BASE_MODEL, 0.25)
        scored(seed, 1, 50)
        evaluated(seed, 2, TUNED_MODEL, 0.75)
        seed.send(http, "first")
        seed.add(
            "evaluation.superseded.v1", {"evaluation": f"eval:{run_id(102)}", "reason": "the key was in the prompt"}
        )
        evaluated(seed, 3, TUNED_MODEL, 0.5)
        scored(seed, 3, 100)
        for at, run in enumerate(SEEDS, start=1):
            evaluated(seed, 3 + at, f"run:{run}", 0.1 * at, OTHER_PROTOCOL, step=10)
        failed = {"evaluation": f"eval:{run_id(150)}", "subject": BASE_MODEL, "suite": "exam", "task": "poems"}
        seed.add("evaluation.failed.v1", {**failed, "error": "out of time"})
        seed.add("model.version_registered.v1", {"model": UNEVALUATED, "run": PREFERRED})
        seed.add("model.alias_assigned.v1", {"alias": "production", "model": TUNED_MODEL})
        seed.send(http, "second")
    return seed

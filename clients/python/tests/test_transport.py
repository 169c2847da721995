"""What happens on the way to a server: errors in words, repeats of questions alone, and no surprise from others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import httpx
import pytest

import cairn
from cairn import errors

Handler = Callable[[httpx.Request], httpx.Response]
GRAPHQL_OK = {"data": {"log": {"size": 0, "head": None}}, "extensions": {"coverage": {"position": 7}}}


def client(handler: Handler, **settings: Any) -> cairn.Client:
    return cairn.Client("http://cairn.test", http=httpx.Client(transport=httpx.MockTransport(handler)), **settings)


class Answers:
    """Gives these answers in turn, and keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def busy(after: str = "0.01") -> httpx.Response:
    problem = {"type": "urn:cairn:problem:busy", "status": 429, "detail": "8 requests are in flight"}
    return httpx.Response(429, json=problem, headers={"retry-after": after})


def ok() -> httpx.Response:
    return httpx.Response(200, json=GRAPHQL_OK)


def test_a_question_is_asked_again_while_the_server_is_busy_or_away() -> None:
    answers = Answers(busy(), httpx.ConnectError("refused"), ok())
    assert client(answers).log().size == 0
    assert len(answers.asked) == 3


def test_it_gives_up_after_as_many_repeats_as_were_allowed() -> None:
    answers = Answers(busy(), busy(), busy())
    with pytest.raises(errors.Unavailable, match="8 requests") as caught:
        client(answers, retries=1).log()
    assert len(answers.asked) == 2
    assert caught.value.code == "busy"
    assert caught.value.retry_after_s == 0.01


def test_a_server_that_asks_for_a_long_pause_is_not_waited_for() -> None:
    answers = Answers(busy("3600"))
    with pytest.raises(errors.Unavailable):
        client(answers).log()
    assert len(answers.asked) == 1


def test_a_mutation_is_never_sent_twice() -> None:
    answers = Answers(busy())
    with pytest.raises(errors.Unavailable):
        client(answers).query('mutation { promote(deployment: "d", model: "m") { position } }')
    assert len(answers.asked) == 1


def test_no_answer_in_time_is_said_with_the_time() -> None:
    with pytest.raises(errors.TimedOut, match=r"did not answer within 0\.5 s"):
        client(Answers(httpx.ReadTimeout("slow")), timeout_s=0.5).log()


def test_no_server_is_said_with_its_address() -> None:
    with pytest.raises(errors.Unreachable, match="cairn serve") as caught:
        client(Answers(httpx.ConnectError("refused")), retries=0).log()
    assert "http://cairn.test" in caught.value.message
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (400, "malformed-request", errors.BadRequest),
        (404, "not-found", errors.NotFound),
        (409, "not-ready", errors.Conflict),
        (413, "too-large", errors.TooLarge),
        (415, "unsupported-media-type", errors.BadRequest),
        (422, "refused", errors.Refused),
        (500, "damaged", errors.ServerError),
        (503, "not-caught-up", errors.Unavailable),
    ],
)
@pytest.mark.parametrize("in_graphql", [False, True])
def test_every_problem_is_an_error_of_its_kind(
    status: int, slug: str, kind: type[cairn.CairnError], in_graphql: bool
) -> None:
    members = {"hint": "do it otherwise", "offset": 3}
    if in_graphql:
        extensions = {"code": slug, "status": status, **members}
        failed = {"message": "it was wrong", "path": ["log", 0], "extensions": extensions}
        answer = httpx.Response(200, json={"data": None, "errors": [failed, {"message": "more"}]})
    else:
        problem = {"type": f"urn:cairn:problem:{slug}", "status": status, "detail": "it was wrong", **members}
        answer = httpx.Response(status, json=problem)
    with pytest.raises(kind, match="it was wrong\nhint: do it otherwise") as caught:
        client(Answers(answer), retries=0).log()
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.status, error.hint, error.members["offset"]) == (slug, status, "do it otherwise", 3)
    assert not in_graphql or (error.members["path"], error.members["others"]) == ("log.0", ["more"])


def test_another_server_is_recognised() -> None:
    for answer in (httpx.Response(200, text="<html>hello"), httpx.Response(200, json=[1]), httpx.Response(200)):
        with pytest.raises(errors.ServerError, match="address of a Cairn server"):
            client(Answers(answer)).log()


def test_what_is_set_is_sent() -> None:
    answers = Answers(ok(), ok())
    with client(answers, token="secret", at_least=42) as asking:
        asking.log()
        asking.using(token=None, at_least=None).log()
    first, second = answers.asked
    assert first.headers["authorization"] == "Bearer secret"
    assert first.headers["cairn-at-least"] == "42"
    assert "authorization" not in second.headers
    assert "cairn-at-least" not in second.headers
    assert json.loads(first.content)["query"].startswith("query { log")
    assert "secret" not in repr(client(answers, token="secret"))


def test_settings_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("ftp://x", "127.0.0.1:8470", "http://"):
        with pytest.raises(errors.InvalidArgument, match="no address"):
            cairn.Client(url)
    with pytest.raises(errors.InvalidArgument, match="timeout_s"):
        cairn.Client(timeout_s=0)
    with pytest.raises(errors.InvalidArgument, match="retries"):
        cairn.Client(retries=-1)
    with pytest.raises(errors.InvalidArgument, match="`colour` cannot be changed"):
        cairn.Client().using(colour="red")
    monkeypatch.setenv("CAIRN_URL", "http://elsewhere:1/")
    assert cairn.Client().settings.url == "http://elsewhere:1"


def test_the_asynchronous_client_asks_the_same(url: str, seed: object) -> None:
    async def ask() -> tuple[int, list[str], list[str]]:
        async with cairn.AsyncClient(url) as asking:
            names = [run.name async for run in asking.runs()]
            many = await asyncio.gather(*(asking.run(ref) for ref in await asking.runs().refs()))
            return (await asking.log()).size, names, [run.name for run in many]

    size, names, again = asyncio.run(ask())
    with cairn.Client(url) as waiting:
        assert [run.name for run in waiting.runs()] == names == again
        assert waiting.log().size == size


LINES = (
    b'{"run":"a","step":1,"value":"NaN","time":"2026-03-01T12:00:00.000000Z"}\n'
    b'{"run":"b","step":2,"value":0.5,"time":null}\n'
)


def bulk(request: httpx.Request) -> httpx.Response:
    """A server of one small table."""
    headers = {"cairn-position": "9", "cairn-checkpoint": "9 root"}
    if request.url.path.endswith(".jsonl"):
        return httpx.Response(200, content=LINES, headers=headers)
    import pyarrow

    columns = {"run": pyarrow.array(["a", "b"]).dictionary_encode(), "step": pyarrow.array([1, 2], pyarrow.uint64())}
    table = pyarrow.table(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return httpx.Response(200, content=sink.getvalue().to_pybytes(), headers=headers)


def test_a_bulk_read_becomes_a_table_that_says_what_it_covers() -> None:
    pytest.importorskip("pyarrow")
    found = client(bulk).read("curves", to="columns", metrics=["loss"])
    assert found["run"] == ["a", "b"]
    assert found["step"] == [1, 2]
    assert found.coverage.position == 9
    assert found.coverage.checkpoint == "9 root"


def test_json_lines_become_typed_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cairn._sync.bulk.installed", lambda package: False)
    found = client(bulk).read("curves", to="columns")
    assert found["step"] == [1, 2]
    assert found["value"][0] != found["value"][0]
    assert found["time"][0].isoformat() == "2026-03-01T12:00:00+00:00"
    assert found["time"][1] is None


def test_a_table_that_breaks_off_is_no_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield LINES[:100]
        raise httpx.RemoteProtocolError("peer closed connection")

    monkeypatch.setattr("cairn._sync.bulk.installed", lambda package: False)
    with pytest.raises(errors.Unreachable):
        client(lambda request: httpx.Response(200, content=broken())).read("curves", to="columns")
    with pytest.raises(errors.Unreachable):
        client(lambda request: httpx.Response(200, content=broken())).download("curves.csv", tmp_path / "curves.csv")
    with pytest.raises(errors.ServerError, match="breaks off in line 2"):
        client(lambda request: httpx.Response(200, content=LINES[:100])).read("curves", to="columns")
    assert list(tmp_path.iterdir()) == []

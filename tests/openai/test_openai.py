"""The unmodified `openai` client against `cairn serve`: a small decoder, a reranker, and the real MiniLM where it is there.

CAIRN_URL, CAIRN_BUSY_URL (a server that takes one prompt at a time) and CAIRN_MODELS (names) are given by whoever runs it.
"""

import json
import math
import os
import threading
import time
import unittest
import urllib.error
import urllib.request

import openai

URL = os.environ["CAIRN_URL"]
MODELS = os.environ["CAIRN_MODELS"].split(",")
HELLO = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How many stones?"}]
DRAWN = {"max_tokens": 24, "temperature": 1.0, "seed": 11}


def client(url=URL, **more):
    return openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=120, **more)


def post(path, body, headers=None):
    """Status, headers and body of a request that no client would send."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def responses():
    """What the ledger has of answers."""
    with urllib.request.urlopen(f"{URL}/v1/events?type=cairn.deployment.response_generated&limit=1000") as answer:
        return [event["data"] for event in json.load(answer)]


class Chat(unittest.TestCase):
    def test_an_answer_names_its_weights_and_is_in_the_ledger(self):
        answer = client().chat.completions.create(model="llama", messages=HELLO, **DRAWN)
        choice = answer.choices[0]
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(choice.message.role, "assistant")
        self.assertIn(choice.finish_reason, ["stop", "length"])
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertLessEqual(answer.usage.completion_tokens, 24)
        model = client().models.retrieve("llama")
        self.assertEqual(answer.system_fingerprint, model.weights_digest)
        recorded = [event for event in responses() if event["response"] == answer.id]
        self.assertEqual(len(recorded), 1)
        self.assertEqual(recorded[0]["weights_digest"], model.weights_digest)
        self.assertEqual(recorded[0]["answer_tokens"], answer.usage.completion_tokens)
        self.assertEqual(recorded[0]["sampling"]["seed"], 11)

    def test_the_same_seed_gives_the_same_text_whatever_else_is_computed(self):
        first = client().chat.completions.create(model="llama", messages=HELLO, **DRAWN).choices[0].message.content
        found = [None] * 6

        def ask(at):
            more = {**DRAWN, "seed": 11 if at % 2 == 0 else 100 + at}
            answer = client().chat.completions.create(model="llama", messages=HELLO, **more)
            found[at] = answer.choices[0].message.content

        threads = [threading.Thread(target=ask, args=[at]) for at in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual([found[at] for at in (0, 2, 4)], [first] * 3)
        self.assertEqual(len(set(found)), 4)

    def test_a_stream_adds_up_to_the_whole(self):
        whole = client().chat.completions.create(model="llama", messages=HELLO, n=2, **DRAWN)
        stream = client().chat.completions.create(
            model="llama", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}, **DRAWN
        )
        texts, finishes, usage, ids = ["", ""], [None, None], None, set()
        for chunk in stream:
            ids.add(chunk.id)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                finishes[choice.index] = choice.finish_reason or finishes[choice.index]
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])
        self.assertEqual(finishes, [choice.finish_reason for choice in whole.choices])
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(len(ids), 1)
        self.assertIn(ids.pop(), [event["response"] for event in responses()])

    def test_logprobs(self):
        answer = client().chat.completions.create(
            model="llama", messages=HELLO, temperature=0, max_tokens=5, logprobs=True, top_logprobs=3
        )
        content = answer.choices[0].logprobs.content
        self.assertEqual(len(content), answer.usage.completion_tokens)
        for entry in content:
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertAlmostEqual(entry.top_logprobs[0].logprob, entry.logprob, places=5)
            self.assertLess(entry.logprob, 0)
            self.assertEqual(bytes(entry.bytes).decode(errors="replace"), entry.token)
            self.assertLessEqual(sum(math.exp(top.logprob) for top in entry.top_logprobs), 1.0001)

    def test_parts_tools_and_stop(self):
        tool = {"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}
        parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
        plain = client().chat.completions.create(model="llama", messages=parts, **DRAWN)
        tooled = client().chat.completions.create(model="llama", messages=parts, tools=[tool], max_tokens=8)
        self.assertGreater(tooled.usage.prompt_tokens, plain.usage.prompt_tokens + 20)
        text = plain.choices[0].message.content
        letter = next(letter for letter in text if letter.isascii() and letter.isprintable())
        stopped = client().chat.completions.create(model="llama", messages=parts, stop=[letter], **DRAWN)
        self.assertEqual(stopped.choices[0].message.content, text[: text.index(letter)])
        self.assertEqual(stopped.choices[0].finish_reason, "stop")

    def test_who_leaves_ends_the_answer(self):
        stream = client().chat.completions.create(
            model="llama", messages=HELLO, n=64, max_tokens=400, stream=True, seed=5, extra_body={"ignore_eos": True}
        )
        first = next(iter(stream))
        stream.close()
        for _ in range(300):
            found = [event for event in responses() if event["response"] == first.id]
            if found:
                break
            time.sleep(0.2)
        self.assertIn("cancelled", found[0]["finish"])
        self.assertLess(found[0]["answer_tokens"], 64 * 400)


class Completions(unittest.TestCase):
    def test_n_and_logprobs(self):
        answer = client().completions.create(model="llama", prompt="The cairn", n=3, logprobs=2, **DRAWN)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2])
        self.assertEqual(len({choice.text for choice in answer.choices}), 3)
        for choice in answer.choices:
            logprobs = choice.logprobs
            lengths = [len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.text_offset)]
            self.assertEqual(lengths, [len(logprobs.top_logprobs)] * 3)
            self.assertTrue(all(1 <= len(top) <= 2 for top in logprobs.top_logprobs))

    def test_prompts_of_every_form(self):
        texts = client().completions.create(model="llama", prompt=["a", "b"], temperature=0, max_tokens=4)
        alone = [client().completions.create(model="llama", prompt=p, temperature=0, max_tokens=4) for p in ["a", "b"]]
        self.assertEqual([choice.text for choice in texts.choices], [one.choices[0].text for one in alone])
        begin = 256
        tokens = client().completions.create(model="llama", prompt=[begin, ord("a")], temperature=0, max_tokens=4)
        self.assertEqual(tokens.choices[0].text, texts.choices[0].text)
        many = client().completions.create(
            model="llama", prompt=[[begin, ord("a")], [begin, ord("b")]], temperature=0, max_tokens=4
        )
        self.assertEqual([choice.text for choice in many.choices], [choice.text for choice in texts.choices])
        echo = client().completions.create(model="llama", prompt="a", temperature=0, max_tokens=4, echo=True)
        self.assertEqual(echo.choices[0].text, "a" + texts.choices[0].text)

    def test_streams(self):
        whole = client().completions.create(model="llama", prompt=["a", "b"], **DRAWN)
        texts = ["", ""]
        for chunk in client().completions.create(model="llama", prompt=["a", "b"], stream=True, **DRAWN):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
        self.assertEqual(texts, [choice.text for choice in whole.choices])


@unittest.skipUnless("minilm" in MODELS, "the real MiniLM is not there")
class Embeddings(unittest.TestCase):
    def test_as_the_client_asks_and_as_numbers(self):
        texts = ["A man plays the guitar.", "Somebody is making music.", "The stock market fell."]
        by_default = client().embeddings.create(model="minilm", input=texts)
        floats = client().embeddings.create(model="minilm", input=texts, encoding_format="float")
        for one, other in zip(by_default.data, floats.data):
            self.assertEqual(len(one.embedding), 384)
            self.assertTrue(all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding)))
        vectors = [entry.embedding for entry in by_default.data]
        dot = lambda a, b: sum(x * y for x, y in zip(a, b))
        self.assertAlmostEqual(dot(vectors[0], vectors[0]), 1.0, places=4)
        self.assertGreater(dot(vectors[0], vectors[1]), dot(vectors[0], vectors[2]) + 0.2)
        self.assertEqual(by_default.usage.prompt_tokens, by_default.usage.total_tokens)
        alone = client().embeddings.create(model="minilm", input=texts[2])
        self.assertGreater(dot(alone.data[0].embedding, vectors[2]), 0.99999)

    def test_what_is_too_long_is_refused_or_cut_where_asked(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            client().embeddings.create(model="minilm", input="stone " * 600)
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        cut = client().embeddings.create(model="minilm", input="stone " * 600, extra_body={"truncate": True})
        self.assertEqual(len(cut.data[0].embedding), 384)


class Rerank(unittest.TestCase):
    def test_documents_come_by_their_scores(self):
        body = {"model": "judge", "query": "how many stones", "documents": ["seven", {"text": "none at all"}, "x"]}
        answer = client().post("/rerank", cast_to=object, body=body)
        scores = [result["relevance_score"] for result in answer["results"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(sorted(result["index"] for result in answer["results"]), [0, 1, 2])
        top = client().post("/rerank", cast_to=object, body={**body, "top_n": 1, "return_documents": True})
        self.assertEqual(top["results"][0]["index"], answer["results"][0]["index"])
        self.assertIn("text", top["results"][0]["document"])
        self.assertIn(answer["id"], [event["response"] for event in responses()])


class Models(unittest.TestCase):
    def test_they_are_listed(self):
        found = {model.id: model for model in client().models.list()}
        self.assertEqual(sorted(found), sorted(MODELS))
        self.assertEqual((found["llama"].kind, found["judge"].kind), ("decoder", "reranker"))
        with self.assertRaises(openai.NotFoundError) as raised:
            client().models.retrieve("nobody")
        self.assertEqual((raised.exception.code, raised.exception.param), ("model_not_found", "model"))


class Errors(unittest.TestCase):
    def refused(self, kind=openai.BadRequestError, **given):
        asked = {"model": "llama", "messages": HELLO, "max_tokens": 4, **given}
        with self.assertRaises(kind) as raised:
            client().chat.completions.create(**asked)
        self.assertTrue(raised.exception.body["message"])
        return raised.exception

    def test_each_bad_input_is_said_in_the_dialect(self):
        self.assertEqual(self.refused(openai.NotFoundError, model="nobody").code, "model_not_found")
        for param, value in [
            ("temperature", -1), ("top_p", 1.5), ("n", 0), ("presence_penalty", 3), ("max_tokens", 0),
            ("frequency_penalty", -7), ("stop", [""]),
        ]:
            error = self.refused(**{param: value})
            self.assertEqual((error.param, error.type), (param, "invalid_request_error"), error.body)
        for param, value in [("min_p", 2), ("repetition_penalty", 0)]:
            self.assertEqual(self.refused(extra_body={param: value}).param, param)
        long = self.refused(messages=[{"role": "user", "content": "x" * 600}])
        self.assertEqual((long.code, long.param), ("context_length_exceeded", "messages"))
        self.assertIn("shorten", long.body["message"])
        role = self.refused(messages=[{"role": "robot", "content": "x"}])
        self.assertIn("the role robot is not known", role.body["message"])
        self.assertIn("loops for ever", self.refused(model="loops").body["message"])
        self.assertEqual(self.refused(extra_body={"temprature": 1}).code, "unknown_parameter")
        self.assertEqual(self.refused(response_format={"type": "json_object"}).code, "unsupported_parameter")
        with self.assertRaises(openai.BadRequestError) as raised:
            client().completions.create(model="llama", prompt=[999_999])
        self.assertIn("vocabulary", raised.exception.body["message"])
        with self.assertRaises(openai.BadRequestError) as raised:
            client().embeddings.create(model="llama", input="x")
        self.assertEqual(raised.exception.param, "model")
        with self.assertRaises(openai.BadRequestError) as raised:
            client().chat.completions.create(model="judge", messages=HELLO)
        self.assertEqual(raised.exception.param, "model")

    def test_bodies_that_no_client_sends(self):
        for body, headers, status in [
            (b"{", None, 400), (b"[]", None, 400), (b"{}", None, 400), (b"x", {"content-type": "text/plain"}, 415),
        ]:
            found, _, answer = post("/v1/chat/completions", body, headers)
            self.assertEqual(found, status)
            self.assertEqual(sorted(answer["error"]), ["code", "message", "param", "type"])

    def test_more_than_are_taken_are_told_to_come_back(self):
        busy = client(os.environ["CAIRN_BUSY_URL"])
        stream = busy.chat.completions.create(
            model="llama", messages=HELLO, n=32, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        with self.assertRaises(openai.RateLimitError) as raised:
            busy.chat.completions.create(model="llama", messages=HELLO)
        self.assertGreater(int(raised.exception.response.headers["retry-after"]), 0)
        stream.close()
        # Once the answer has ended there is room again, as a client that comes back finds.
        patient = busy.with_options(max_retries=10)
        patient.chat.completions.create(model="llama", messages=HELLO, max_tokens=1)


if __name__ == "__main__":
    unittest.main()

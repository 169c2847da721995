"""What transformers renders of the templates here, for conversations of every kind.

    python make_goldens.py        (transformers; writes goldens.json beside itself)
"""

import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as utils
from jinja2.exceptions import TemplateError

HERE = pathlib.Path(__file__).parent


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 9, 14, 5, 6)


utils.datetime = Clock

SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SYSTEM = {"role": "system", "content": "  Be short. "}
USER = {"role": "user", "content": " How many stones?\n"}
ANSWER = {"role": "assistant", "content": "Seven, \"more or less\". "}
AGAIN = {"role": "user", "content": "And <b>now</b>? 🪨 it's 5 > 3"}
CALL = {
    "role": "assistant", "content": "",
    "tool_calls": [{"id": "abcde1234", "type": "function", "function": {
        "name": "count", "arguments": {"zone": "north", "deep": {"b": 1, "a": [1.0, None, True]}, "tags": []}}}],
}
RESULT = {"role": "tool", "tool_call_id": "abcde1234", "content": "[7, 8]"}
THOUGHT = {"role": "assistant", "content": "<think>\nadd them\n</think>\n\nSeven."}
REASONED = {"role": "assistant", "content": "Seven.", "reasoning_content": "add them"}
TOOL = {"type": "function", "function": {
    "name": "count", "description": "Count stones in a zone; \"fast\".",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string", "enum": ["north", "söuth"]}},
                   "required": ["zone"], "additionalProperties": False}}}

CONVERSATIONS = {
    "one": ([USER], None, {}),
    "whole": ([SYSTEM, USER, ANSWER, AGAIN], None, {}),
    "tools": ([SYSTEM, USER], [TOOL, TOOL], {}),
    "called": ([USER, CALL, RESULT, ANSWER, AGAIN], [TOOL], {}),
    "thought": ([USER, THOUGHT, AGAIN, REASONED, {"role": "user", "content": "x"}], None, {"enable_thinking": False}),
    "after": ([USER, CALL, RESULT, RESULT, THOUGHT], [TOOL], {}),
    "outside": ([USER], [TOOL], {"tools_in_user_message": False, "date_string": "1 Jan 2020"}),
    "twice": ([USER, USER], None, {}),
}


def main():
    found = []
    for path in sorted(HERE.glob("*.jinja")):
        template = path.read_text()
        for name, (messages, tools, more) in CONVERSATIONS.items():
            for prompted in [True, False]:
                row = {"template": path.stem, "name": name, "messages": messages, "tools": tools, "more": more,
                       "add_generation_prompt": prompted}
                try:
                    rendered, _ = utils.render_jinja_template(
                        conversations=[messages], tools=tools, chat_template=template,
                        add_generation_prompt=prompted, **SPECIALS, **more)
                    row["rendered"] = rendered[0]
                except TemplateError as error:
                    row["refused"] = str(error)
                if "refused" not in row or prompted:
                    found.append(row)
    (HERE / "goldens.json").write_text(json.dumps({"specials": SPECIALS, "rows": found}, indent=0) + "\n")
    print(len(found), sum("refused" in row for row in found))


main()

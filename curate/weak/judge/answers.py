"""Answers of a chat model, and the vote that each is; what no rule knows is an abstention, and counted by its kind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from curate.weak.judge.prompts import Vote

Kind = Literal["unmapped", "ambiguous", "refusal", "truncated", "empty"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_MARKS = " \t\r\n*_`\"'#>"
_REFUSAL = re.compile(
    r"(i(['’]m| am) (really |very |truly )?(sorry|afraid|unable|not able|not comfortable)|sorry,|i apologi[sz]e"
    r"|as an ai\b|i (can(['’]t|not| not)|won['’]t|will not|am unable to) "
    r"(help|assist|answer|comply|provide|continue|discuss|evaluate|assess|judge|rate|process|fulfil))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered to one request.

    Parameters
    ----------
    content
        The text, empty for none.
    finish
        Why it ended: ``stop``, ``length``, ``content_filter``; empty where the endpoint does not say.
    refusal
        What the endpoint gave as a refusal, beside the text.
    prompt_tokens, completion_tokens
        As the endpoint counts them, 0 where it does not.
    """

    content: str
    finish: str = "stop"
    refusal: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def said(self) -> str:
        """The text without what a reasoning model thought first, and without quotes and emphasis around it.

        Examples
        --------
        >>> Answer("<think>Hmm, no or yes?</think> **Yes**").said
        'Yes'
        """
        return _THOUGHT.sub("", self.content).strip(_MARKS)


def answer_of(body: Any) -> Answer | None:
    """The answer in the JSON body of a chat completion, or None for a body that is not one.

    Examples
    --------
    >>> answer_of({"choices": [{"message": {"content": "no"}, "finish_reason": "length"}]})
    Answer(content='no', finish='length', refusal='', prompt_tokens=0, completion_tokens=0)
    >>> answer_of({"error": "overloaded"}) is None
    True
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        usage = body.get("usage") or {}
        tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    if not all(value is None or isinstance(value, str) for value in (content, refusal, finish)):
        return None
    return Answer(content or "", finish or "", refusal or "", *tokens)


def fault(answer: Answer) -> Kind | None:
    """Why an answer says nothing, whatever its words; None for one that can be looked at."""
    if answer.refusal or answer.finish == "content_filter" or _REFUSAL.match(answer.said):
        return "refusal"
    if answer.finish == "length":
        return "truncated"
    return None if answer.said else "empty"


def vote_of(answer: Answer, rules: Sequence[tuple[re.Pattern[str], Vote]]) -> tuple[Vote, Kind | None]:
    """The vote, and for an abstention that no rule asked for, its kind.

    An answer that rules of different votes fit is none of them.

    Examples
    --------
    >>> rules = [(re.compile("yes"), "keep"), (re.compile("no"), "drop")]
    >>> vote_of(Answer("yes"), rules), vote_of(Answer("yes and no"), rules), vote_of(Answer("maybe"), rules)
    (('keep', None), ('abstain', 'ambiguous'), ('abstain', 'unmapped'))
    """
    kind = fault(answer)
    if kind is not None:
        return "abstain", kind
    votes: set[Vote] = {vote for pattern, vote in rules if pattern.search(answer.said)}
    if len(votes) == 1:
        return votes.pop(), None
    return "abstain", "ambiguous" if votes else "unmapped"

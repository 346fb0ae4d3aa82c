from __future__ import annotations

from typing import Any

import pytest

from composia.controller.answer import Answer
from composia.controller.runner import Json
from composia.errors import Cancelled, ComposiaError, Failure, NodeLost
from composia.model.task import Status
from composia.operations.messages import Outcome

LOST = NodeLost("away", hint="Start its agent.").as_told()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (Answer(result=None), {"result": None}),
        (Answer(result={"at": None}), {"result": {"at": None}}),
        (Answer.of(Outcome(key="k"), cancelled=False), {"result": {}, "key": "k"}),
        (
            Answer.of(Outcome(key="k", error=LOST), cancelled=False),
            {"error": LOST.model_dump(mode="json"), "key": "k"},
        ),
    ],
    ids=["nothing", "of the controller", "of a node", "an error"],
)
def test_it_is_kept_as_tasks_have_it_that_were_begun_before(
    answer: Answer, kept: dict[str, Any]
) -> None:
    assert answer.as_kept() == kept
    assert Answer.model_validate(kept) == answer


@pytest.mark.parametrize(
    ("error", "cancelled", "status"),
    [
        (NodeLost("away"), True, Status.CANCELLED),
        (NodeLost("away"), False, Status.FAILED),
        (Failure("no luck"), True, Status.FAILED),
        (Cancelled("it was asked for"), False, Status.CANCELLED),
    ],
)
def test_who_was_cancelled_does_not_fail_for_what_may_be_repeated(
    error: ComposiaError, status: Status, *, cancelled: bool
) -> None:
    answer = Answer.of(Outcome(key="k", error=error.as_told()), cancelled=cancelled)
    assert answer.status is status
    assert answer.shown
    assert answer.shown.message in answer.summary
    with pytest.raises(ComposiaError, match=error.message):
        answer.opened()


def test_what_went_wrong_comes_back_as_an_error_and_all_else_as_it_was() -> None:
    json = Json()
    assert json.deserialize(json.serialize({"args": ("01A", 1), "kwargs": {}})) == {
        "args": ["01A", 1],
        "kwargs": {},
    }
    found = json.deserialize(json.serialize(ValueError("no")))
    assert isinstance(found, Failure)
    assert found.message == "ValueError: no"

"""Conditions of graphs and the bodies that meet them: GJSON as KServe's router implements it.

One graph asks all conditions of a body at once: an Ensemble of Switches, each with its condition and a way out.
"""

import json
from typing import Any

import pytest
from services.routers import node

# what KServe's binary was seen to say: condition -> whether it holds for the body above it
CASES: dict[str, dict[str, bool]] = {
    '{"always": 1, "instances": [{"modelId": "1"}, {"modelId": "2", "score": 0.5}], "a": {"b": [null, 7]}}': {
        "instances": True,
        "instances.0": True,
        "instances.2": False,
        "instances.01": True,
        "instances.x": False,
        "instances.0.modelId": True,
        "instances.0.score": False,
        "instances.1.score": True,
        "instances.modelId": False,
        "Instances": False,
        "a.b.0": True,
        "a.b.1": True,
        "a.b.0.c": False,
        "a.b.c": False,
        'instances.#(modelId=="2")': True,
        'instances.#(modelId=="2").score': True,
        'instances.#(modelId=="1").score': False,
        'instances.#(modelId=="3")': False,
        "instances.#(modelId==2)": True,
        "instances.#(modelId=2)": True,
        "instances.#( modelId == 2 )": True,
        "instances.#(modelId!=2)": True,
        "instances.#(modelId>1)": True,
        "instances.#(modelId>2)": False,
        "instances.#(score)": True,
        "instances.#(score>=0.5)": True,
        "instances.#(score>0.5)": False,
        "instances.#(score<=5e-1)": True,
        'instances.#(score=="0.5")': True,
        "instances.#(nothing)": False,
        'instances.#(nothing!="x")': False,
        "[@this].#(always==1)": True,
        "[@this].#(always==2)": False,
        "[@this].#(a.b)": True,
        "[@this].#(a.b.1>6)": True,
        "[@this].#(a.b.0==null)": False,
        "[@this].0.always": True,
        "[@this].1": False,
        "a.#(b)": False,
        "always.b": False,
        "always.0": False,
    },
    '{"always": 1, "p": [0.1, "x", true, false, null, [1], {"": 5, "z": 0}], "t": [true], "f": [false], "e": []}': {
        "p.#()": True,
        "p.#(>0.05)": True,
        "p.#(>99)": True,  # "x", as text
        "p.#(==x)": True,
        "p.#(>w)": True,
        "p.#(==true)": True,
        "p.#(==null)": False,
        'p.#(=="5")': True,
        "p.#(>4)": True,
        "p.#(z==nonsense)": True,
        "p.#(z<inf)": True,
        "p.#(z==nan)": False,
        "t.#(==true)": True,
        "t.#(!=true)": False,
        "t.#(!=x)": True,
        "t.#(>false)": True,
        "t.#(>true)": False,
        "t.#(>=x)": True,
        "t.#(<x)": False,
        "t.#(<=true)": False,
        "f.#(==false)": True,
        "f.#(<true)": True,
        "f.#(<false)": False,
        "f.#(<=x)": True,
        "f.#(>=false)": False,
        "e.#()": False,
        "e.0": False,
    },
    '{"always": 1, "twice": 1, "twice": {"a": 1}, "k\\u0065y": "\\u00e9\\n", "list": ["\\ud83d\\ude00", "Z", "a"]}': {
        "twice": True,
        "twice.a": True,
        "key": True,
        '[@this].#(key=="é")': False,
        '[@this].#(key>"é")': True,
        'list.#(=="😀")': True,
        'list.#(>"z")': True,
        'list.#(<"Z")': False,
        "list.#(<=Z)": True,
    },
}


@pytest.mark.parametrize("body", CASES, ids=["objects", "plain values", "oddities"])
def test_conditions_hold_as_in_gjson(steps: Any, router: Any, body: str) -> None:
    """77 conditions: names, indexes of lists, #(name op value) with its comparisons by type, and [@this]."""
    yes, no = (steps.says(json.dumps({"holds": holds}).encode()) for holds in (True, False))
    way_out = {"serviceUrl": no.url, "condition": "always"}
    switches = {
        condition: node("Switch", {"serviceUrl": yes.url, "condition": condition}, way_out) for condition in CASES[body]
    }
    root = node("Ensemble", *({"name": condition, "nodeName": condition} for condition in switches))

    response, answer = router.graph(root=root, **switches).ask(body.encode())

    assert response.status == 200
    assert {condition: each["holds"] for condition, each in json.loads(answer).items()} == CASES[body]


LISTS = {
    ("0", b"[1]"): True,
    ("1", b"[1]"): False,
    ("#(a==1)", b'[{"a": 2}, {"a": 1}]'): True,
    ("[@this].#(a==1)", b'[{"a": 1}]'): False,
    ("[@this].0.0.a", b'[{"a": 1}]'): True,
    ("a", b'"a"'): False,
    ("[@this].0", b"null"): True,
    ("[@this].#(==7)", b"7"): True,
}


@pytest.mark.parametrize(("condition", "body"), LISTS, ids=[f"{condition} of {body!r}" for condition, body in LISTS])
def test_conditions_on_bodies_that_are_no_objects(steps: Any, router: Any, condition: str, body: bytes) -> None:
    """Lists and plain values as a whole body."""
    root = node("Switch", {"serviceUrl": steps.echo().url, "condition": condition})

    assert router.graph(root=root).ask(body)[0].status == (200 if LISTS[condition, body] else 404)

"""What the programs here say: one line of JSON for each thing that happened, read by the tests that start them."""

import json
import sys
import threading

_lock = threading.Lock()


def say(what, **rest):
    """Writes one line, whole, whichever thread it comes from."""
    with _lock:
        sys.stdout.write(json.dumps(dict(rest, what=what)) + "\n")
        sys.stdout.flush()


def orders():
    """What the test says, a line each: a word, and what belongs to it."""
    for line in sys.stdin:
        words = line.strip().split(" ", 1)
        yield words[0], words[1] if len(words) > 1 else ""


def task(offer, task_id, line):
    """A small task that runs a line of shell on the agent of an offer."""

    def scalar(name, value):
        return {"name": name, "type": "SCALAR", "scalar": {"value": value}}

    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
        "command": {"value": line},
    }

"""Compares the outcomes of the same steps on two servers, in the format of `outcomes.py` and
`outcomes.mjs`. Prints each difference that the table of deviations does not list, and each listed
deviation that does not occur.
"""

import argparse
import json
import re
import sys
from pathlib import Path

# Patterns of strings that differ between runs. Users are numbered in order of appearance.
NAMED = {
    "token": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "user": r"\banonymouz-[a-z]+-[a-z]+-\d{8}\b|\b[a-z]+-[a-z]+-\d{8}\b",
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.+:Z]*",
    "client": r"\bclient-[A-Za-z0-9]{22}\b",
    "id": r"(?<![\w-])[A-Za-z0-9_-]{22}(?![\w-])|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
}
PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in NAMED.items()))
# Range of numbers that count as times, in seconds since 1970.
TIMES = (1.7e9, 4e9)
# Suffix of a record whose id was already used by another record.
NUMBER = re.compile(r" #\d+\]")
# The last line of a Python exception, which both servers use for errors.
EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Timeout)\b.*)$", re.MULTILINE)
# Prefix that the clients add to an error of a server.
WRAPPING = re.compile(r"^(?:\w+: )?(?:Failed to notify workspace manager: )?RemoteError: ?")
ABSENT = "<absent>"
# Id of a client or service in a path, with or without its workspace.
RECORD = re.compile(r"\[(?:([^\[\]/]+)/)?([^\[\]/:]+)(?::[^\[\]]*)?\]$")
# Properties of a difference. A deviation has a pattern for each; the default is `*`.
KEYS = ("run", "step", "path", "client", "original", "ours")


class Normal:
    """Replaces values that differ between runs, so that outcomes can be compared."""

    def __init__(self, urls, known):
        self.places = [place for url in urls for place in ((url, "<url>"), (url.removeprefix("http://"), "<host>"))]
        self.places += known.items()
        self.users = {}

    def text(self, text):
        for place, name in self.places:
            text = text.replace(place, name)

        def name_of(found):
            kind = found.lastgroup
            if kind != "user":
                return f"<{kind}>"
            return f"<user {self.users.setdefault(found[0], len(self.users) + 1)}>"

        return PATTERN.sub(name_of, text)

    def error(self, text):
        text = WRAPPING.sub("", text)
        text = text.split("\nException: Traceback")[0]
        lines = EXCEPTION.findall(text)
        return self.text(lines[-1] if lines else text.strip().splitlines()[-1])

    def member(self, key, value):
        if isinstance(value, str) and (key == "error" or key == "detail" and "\n" in value):
            return self.error(value)
        return self.value(value)

    def value(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.member(key, item) for key, item in value.items()}
        if isinstance(value, list):
            items = [self.value(item) for item in value]
            if items and all(isinstance(item, str) and "/" in item for item in items):
                return sorted(items)
            if items and all(isinstance(item, dict) and "id" in item for item in items):
                return records(items)
            return items
        is_time = isinstance(value, (int, float)) and TIMES[0] < value < TIMES[1]
        return "<time>" if is_time else value


def records(items):
    """Return a list of records as a map from their ids, because the order of lists may differ.

    In a cluster, two records may have the same id. The id of the second record gets a number.
    """
    found = {}
    for item in sorted(items, key=text_of):
        key, count = f"[{item['id']}]", 1
        while key in found:
            count += 1
            key = f"[{item['id']} #{count}]"
        found[key] = item
    return found


def steps(path, urls):
    """Return the outcomes of a run by step. The name of a repeated step gets a number.

    Each outcome comes with the clients that were disconnected before that step.
    """
    lines = [json.loads(line) for line in Path(path).read_text().splitlines() if line.startswith("{")]
    known = {text: name for line in lines for text, name in line.get("known", {}).items()}
    normal, outcomes, gone = Normal(urls.split(), known), {}, ()
    for line in lines:
        if "gone" in line:
            gone = (*gone, normal.text(line["gone"]))
        if "step" not in line:
            continue
        name, count = line["step"], 1
        while name in outcomes:
            count += 1
            name = f"{line['step']} #{count}"
        outcomes[name] = normal.value(line["outcome"]), gone
    return outcomes


def differences(path, original, ours):
    """Yield the differences between two outcomes, each with its path and both values."""
    if isinstance(original, dict) and isinstance(ours, dict):
        for key in sorted({**original, **ours}):
            below = f"{path}.{key}" if path else key
            yield from differences(below, original.get(key, ABSENT), ours.get(key, ABSENT))
    elif isinstance(original, list) and isinstance(ours, list) and len(original) == len(ours):
        for number, (left, right) in enumerate(zip(original, ours)):
            yield from differences(f"{path}[{number}]", left, right)
    elif original != ours or type(original) is not type(ours):
        yield path, text_of(original), text_of(ours)


def text_of(value):
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def matcher(pattern):
    """Return a function that matches strings with a pattern. `*` matches any string."""
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.compile(expression, re.DOTALL).fullmatch


def client_of(path, gone):
    """Return the state of the client in the last record of a path: `gone` or `present`."""
    found = RECORD.search(path)
    if not found:
        return ""
    workspace, client = found.groups()
    # The ids in lists of one workspace do not contain the workspace.
    known = (place.split("/", 1) for place in gone)
    left = any(name == client and (not workspace or where in (workspace, "*")) for where, name in known)
    return "gone" if left else "present"


class Deviation:
    def __init__(self, entry):
        self.entry = entry
        self.matches = [matcher(entry.get(key, "*")) for key in KEYS]
        self.met = 0

    def allows(self, difference):
        if all(match(text) for match, text in zip(self.matches, difference)):
            self.met += 1
            return True
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deviations", required=True)
    parser.add_argument(
        "--run",
        nargs=5,
        action="append",
        metavar=("NAME", "ORIGINAL", "URLS", "OURS", "URLS"),
        required=True,
        help="a way to run the steps, and the outcomes and addresses of each server",
    )
    options = parser.parse_args()
    deviations = [Deviation(entry) for entry in json.loads(Path(options.deviations).read_text())]
    problems = count = 0
    for run, *outcomes in options.run:
        original, ours = steps(*outcomes[:2]), steps(*outcomes[2:])
        count += len(original)
        for step in {**original, **ours}:
            (left, gone), (right, _) = (side.get(step, (ABSENT, ())) for side in (original, ours))
            for path, *values in differences("", left, right):
                path = NUMBER.sub("]", path)
                difference = (run, step, path, client_of(path, gone), *values)
                # Use a list and not a generator, to mark every deviation that applies. Each
                # unmarked deviation is reported.
                if not any([deviation.allows(difference) for deviation in deviations]):
                    problems += 1
                    print(f"{run}: {step}\n  at {path or 'the step'}")
                    print("    original: {}\n    ours:     {}".format(*values))
    runs = {run for run, *_ in options.run}
    for deviation in deviations:
        # A deviation that is caused by a race in the original occurs only in some runs.
        expected = deviation.entry.get("run", "*") in {"*", *runs} and not deviation.entry.get("sometimes")
        if expected and not deviation.met:
            problems += 1
            print(f"a listed deviation does not occur: {json.dumps(deviation.entry)}")
    print(f"{count} steps, {problems} problems")
    sys.exit(problems > 0)


if __name__ == "__main__":
    main()

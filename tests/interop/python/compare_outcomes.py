"""Compares the outcomes of the same steps at two servers, as `outcomes.py` and `outcomes.mjs` print
them. Prints every difference that is not in the table of deviations, and every deviation of the
table that no longer occurs.
"""

import argparse
import json
import re
import sys
from pathlib import Path

# Texts that differ between runs. Users get numbers in the order of their appearance.
NAMED = {
    "token": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "user": r"\banonymouz-[a-z]+-[a-z]+-\d{8}\b|\b[a-z]+-[a-z]+-\d{8}\b",
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.+:Z]*",
    "client": r"\bclient-[A-Za-z0-9]{22}\b",
    "id": r"(?<![\w-])[A-Za-z0-9_-]{22}(?![\w-])|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
}
PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in NAMED.items()))
# Times in seconds since 1970, in these years.
TIMES = (1.7e9, 4e9)
# Suffix of a record whose id is that of another record.
NUMBER = re.compile(r" #\d+\]")
# The last line of a Python exception, which both servers use for errors.
EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Timeout)\b.*)$", re.MULTILINE)
# The text that the clients put in front of an error of a server.
WRAPPING = re.compile(r"^(?:\w+: )?(?:Failed to notify workspace manager: )?RemoteError: ?")
ABSENT = "<absent>"
# The id of a client or service in a list, with or without its workspace.
RECORD = re.compile(r"\[(?:([^\[\]/]+)/)?([^\[\]/:]+)(?::[^\[\]]*)?\]$")
# What a deviation is about; each member of an entry is a pattern, `*` if it is left out.
KEYS = ("run", "step", "path", "client", "original", "ours")


class Normal:
    """Makes the outcomes of one run comparable with those of another."""

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
    """Return a list of records by their ids, because lists have no order.

    Two servers of a cluster have some records with the same id, which get a number.
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
    """Return the outcomes of a run by the name of the step, with a number for a repeated step.

    Each comes with the clients that were gone before.
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
    """Yield the differences of two outcomes, each as its path and the two values."""
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
    """Return whether a text matches a pattern, in which `*` stands for any text."""
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.compile(expression, re.DOTALL).fullmatch


def client_of(path, gone):
    """Return whether the client of the record at the end of a path is gone or present."""
    found = RECORD.search(path)
    if not found:
        return ""
    workspace, client = found.groups()
    # Some lists are those of one workspace, which their ids leave out.
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
                # Marks every deviation that applies, so that none counts as gone because another one
                # applied first.
                if not any([deviation.allows(difference) for deviation in deviations]):
                    problems += 1
                    print(f"{run}: {step}\n  at {path or 'the step'}")
                    print("    original: {}\n    ours:     {}".format(*values))
    runs = {run for run, *_ in options.run}
    for deviation in deviations:
        # A deviation caused by a race in the original occurs in some runs only.
        expected = deviation.entry.get("run", "*") in {"*", *runs} and not deviation.entry.get("sometimes")
        if expected and not deviation.met:
            problems += 1
            print(f"a deviation that is not there: {json.dumps(deviation.entry)}")
    print(f"{count} steps, {problems} problems")
    sys.exit(problems > 0)


if __name__ == "__main__":
    main()

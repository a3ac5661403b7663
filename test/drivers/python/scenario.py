"""The dialogue with the runner, and the statements that every program uses."""

import asyncio
import sys
import traceback

LARGE = "x" * (2 * 1024 * 1024)


class Phase:
    def __init__(self, line, driver):
        _, self.name, self.column, star, wide = line.split()
        self.star = star.split(",")
        self.wide = wide == "wide"
        self.tag = f"{driver} {self.name}"


def check(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what}: {str(actual)[:200]!r} is not {str(expected)[:200]!r}")


def say(line):
    print(line.replace("\n", " "), flush=True)


def one_line(step, error):
    # The frame after the runner's own is the line of the step.
    line = traceback.extract_tb(error.__traceback__)[1].lineno
    return f"{step}: {type(error).__name__}: {str(error)[:300]} (line {line})"


def run(version, driver, steps, recover):
    """`steps`: (feature, function of a Phase); a failed one does not keep the others from running."""
    say(f"ready {version}")
    for line in sys.stdin:
        phase = Phase(line, driver)
        errors, done = [], []
        for feature, step in steps:
            try:
                if step(phase) is not False:
                    done.append(feature)
            except Exception as error:
                errors.append(one_line(feature, error))
                recover()
        say("error: " + "; ".join(errors) if errors else "ok " + ",".join(done))


async def run_async(version, driver, steps, recover):
    say(f"ready {version}")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        phase = Phase(line, driver)
        errors, done = [], []
        for feature, step in steps:
            try:
                if await step(phase) is not False:
                    done.append(feature)
            except Exception as error:
                errors.append(one_line(feature, error))
                await recover()
        say("error: " + "; ".join(errors) if errors else "ok " + ",".join(done))

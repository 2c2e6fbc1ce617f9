import { expect, test } from "bun:test";
import { isTracker } from "./is-tracker.ts";

const OURS = ["/opt/fleet/fleet-tracker", "--tcp", "--tcp-port", "{port}", "-s", "-"];
const isOurs = (port: number): boolean => port >= 31_000 && port <= 31_099;

test.each([
  [
    "as it was begun",
    ["/opt/fleet/fleet-tracker", "--tcp", "--tcp-port", "31000", "-s", "-"],
    OURS,
  ],
  ["found elsewhere", ["fleet-tracker", "--tcp", "--tcp-port", "31099", "-s", "-"], OURS],
  ["a script's", ["/bin/sh", "/opt/t.sh", "31005", "a.b"], ["t.sh", "{port}", "{stream}"]],
  [
    "behind a wrapper that is gone",
    ["python3", "-m", "t", "--port=31001"],
    ["env", "X=1", "python3", "-m", "t", "--port={port}"],
  ],
])("a tracker is known by its command line: %s (T5)", (_, argv, template) => {
  expect(isTracker(argv, template, isOurs)).toBe(true);
});

test.each([
  ["of another range", ["fleet-tracker", "--tcp", "--tcp-port", "31100", "-s", "-"], OURS],
  ["with other arguments", ["fleet-tracker", "--tcp", "--tcp-port", "31000", "-s", "x"], OURS],
  ["of another program", ["other", "--tcp", "--tcp-port", "31000", "-s", "-"], OURS],
  ["with a port that is none", ["fleet-tracker", "--tcp", "--tcp-port", "x", "-s", "-"], OURS],
  ["that says nothing", [], OURS],
  ["whose template has no port", ["t", "a.b"], ["t", "{stream}"]],
  ["that is a word of it", ["-"], OURS],
  ["that is but a port", ["31000"], ["t", "{port}"]],
  ["with a pattern for a name", ["t+", "31000"], ["t.", "{port}"]],
])("and nothing else is: one %s (T5)", (_, argv, template) => {
  expect(isTracker(argv, template, isOurs)).toBe(false);
});

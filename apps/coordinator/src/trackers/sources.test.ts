import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { countOf, needsProcess, nextSources, type SourceEvent, type Sources } from "./sources.ts";

const after = (...events: readonly SourceEvent[]): Sources =>
  events.reduce<Sources>(nextSources, { at: "idle" });
const attached: SourceEvent = { at: "attached" };
const detached: SourceEvent = { at: "detached", outageEndsAtMs: 7 };
const started: SourceEvent = { at: "started", outageEndsAtMs: 9 };
const frames: SourceEvent = { at: "frames" };
const stopping: SourceEvent = { at: "stopping" };
const retired: SourceEvent = { at: "retired" };

describe("the sources of a stream (T4)", () => {
  test("are in an outage from the last detach until another attaches or the process stops", () => {
    expect(after(attached, attached, detached)).toEqual({ at: "present", count: 1 });
    expect(after(attached, detached)).toEqual({ at: "outage", endsAtMs: 7 });
    expect(after(attached, detached, attached)).toEqual({ at: "present", count: 1 });
    expect(after(attached, detached, stopping)).toEqual({ at: "idle" });
  });

  test("have an outage of their own when frames alone started the process, which begins again with each start", () => {
    expect(after(started)).toEqual({ at: "outage", endsAtMs: 9 });
    expect(after(attached, detached, started)).toEqual({ at: "outage", endsAtMs: 9 });
    expect(after(attached, started)).toEqual({ at: "present", count: 1 });
  });

  test("need the process again after a stop for a source, or for frames that still wait", () => {
    expect(needsProcess(after(attached, stopping), 0)).toBe(true);
    const late = after(attached, detached, stopping, frames);
    expect(late).toEqual({ at: "late" });
    expect([needsProcess(late, 1), needsProcess(late, 0)]).toEqual([true, false]);
    expect(needsProcess(after(stopping, attached, detached), 1)).toBe(true);
    expect(needsProcess(after(attached, detached, stopping), 1)).toBe(false);
  });

  test("never need it again once they are retired, whatever follows", () => {
    const events = fc.array(
      fc.constantFrom(attached, detached, started, frames, stopping, retired),
    );
    fc.assert(
      fc.property(events, events, (before, afterwards) => {
        const state = after(...before, retired, ...afterwards);
        expect(state.at).toBe("retired");
        expect(needsProcess(state, 1)).toBe(false);
      }),
    );
  });

  test("count attaches less detaches, never below none", () => {
    const events = fc.array(fc.constantFrom(attached, detached, started, frames, stopping));
    fc.assert(
      fc.property(events, (all) => {
        let count = 0;
        let state: Sources = after();
        for (const event of all) {
          state = nextSources(state, event);
          if (event.at === "attached") count++;
          if (event.at === "detached") count = Math.max(0, count - 1);
          expect(countOf(state)).toBe(count);
          expect(state.at === "present").toBe(count > 0);
        }
      }),
    );
  });
});

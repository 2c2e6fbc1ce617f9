import { expect, test } from "bun:test";
import type { SensorInfo } from "@fleet/protocol";
import { acceptCounters } from "./counters.ts";

const RADAR = { name: "radar", runtime: "python", mode: "stream" } as SensorInfo;
const balance = (dropped: Record<string, number>) => ({
  produced: 9,
  acked: 1,
  spooled: 2,
  dropped,
});

test("counters of sensors that were not registered are ignored (H12)", () => {
  const reported = { radar: balance({}), invented: balance({}), constructor: balance({}) };
  expect(acceptCounters(reported, [RADAR])).toEqual({ radar: balance({}) });
  expect(acceptCounters({}, [{ ...RADAR, name: "constructor" } as SensorInfo])).toEqual({});
});

test("reasons that no agent of ours uses are added up, and none is lost (A16, H12)", () => {
  const dropped = { spool_full: 1, bad_json: 2, "rejected:bad_frame": 3, x: 4, "": 5, other: 6 };
  expect(acceptCounters({ radar: balance(dropped) }, [RADAR])["radar"]?.dropped).toEqual({
    spool_full: 1,
    bad_json: 2,
    "rejected:bad_frame": 3,
    other: 15,
  });
});

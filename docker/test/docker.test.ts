/**
 * The agent and the coordinator in real Docker, with one engine and one fleet for all tests. Takes a minute and a half, two the
 * first time, and 2 GB of disk.
 */
import { afterAll, beforeAll } from "bun:test";
import { Engine } from "./engine.ts";
import { Fleet } from "./fleet.ts";
import { testCompose } from "./compose.ts";
import { testEngineEnd } from "./engine-end.ts";
import { testInjection } from "./injection.ts";
import { testLifecycle } from "./lifecycle.ts";
import { describeDocker } from "./machine.ts";
import { testMemory } from "./memory.ts";
import { testStockImages } from "./stock-images.ts";
import { buildImages } from "./stock.ts";

const START_MS_MAX = 180_000;

await describeDocker("in Docker", () => {
  let engine: Engine | undefined;
  let fleet: Fleet | undefined;
  beforeAll(async () => {
    engine = await Engine.start();
    await buildImages(engine);
    fleet = await Fleet.start(engine);
  }, START_MS_MAX);
  afterAll(() => engine?.stop(), START_MS_MAX);

  const fleetOf = (): Fleet => fleet!;
  testStockImages(fleetOf);
  testInjection(fleetOf);
  testLifecycle(fleetOf);
  testMemory(fleetOf);
  testCompose(() => engine!);
  testEngineEnd();
});

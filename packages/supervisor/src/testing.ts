export { FakeProcess, FakeSource, FakeSpawn } from "./fake-spawn.ts";

export { FakeSpawn } from "./fake-spawn.ts";

export { FakeClock, settle } from "./fake-clock.ts";
export { TestAuthority, type TestPair } from "./test-authority.ts";

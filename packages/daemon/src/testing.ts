export { FakeClock, settle } from "./time/fake-clock.ts";
export { TestAuthority, type TestPair } from "./test-authority.ts";

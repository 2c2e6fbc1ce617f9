import type { Config } from "drizzle-kit";

// `bun x drizzle-kit generate` (in this folder) writes the next migration; list it in src/db/migrations.ts.
const config: Config = {
  dialect: "sqlite",
  schema: "./src/db/schema.ts",
  out: "./src/db/migrations",
};
export default config;

import type { Config } from "drizzle-kit";

// Run `bun x drizzle-kit generate` in this folder to write the next migration, then add it to src/db/migrations.ts.
const config: Config = {
  dialect: "sqlite",
  schema: "./src/db/schema.ts",
  out: "./src/db/migrations",
};
export default config;

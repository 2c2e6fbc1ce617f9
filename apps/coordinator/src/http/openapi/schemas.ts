/** JSON Schemas of the API's zod schemas. Those with an `id` are components of the document. (H4) */
import { z } from "zod";

const PREFIX = "#/components/schemas/";

/** JSON Schema (draft 2020-12), as OpenAPI 3.1 takes it. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** The schemas that have an `id`, by it. */
export function namedSchemas(): Record<string, JsonSchema> {
  const { schemas } = z.toJSONSchema(z.globalRegistry, {
    io: "input",
    uri: (id) => `${PREFIX}${id}`,
    override: tidy,
  });
  for (const schema of Object.values(schemas)) {
    delete schema.$schema;
    delete schema.$id;
  }
  return schemas;
}

/** A reference to a schema by its `id`. Throws when it has none. */
export function refTo(schema: z.ZodType): { readonly $ref: string } {
  const id = z.globalRegistry.get(schema)?.id;
  if (id === undefined) throw new Error("the schema of a body has no id");
  return { $ref: `${PREFIX}${id}` };
}

/** The schema of a parameter, written where it is used. */
export function inlineSchema(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", override: tidy });
  return rest;
}

/** Removes what is obvious: that an integer fits into a double, and that a key is a string. */
function tidy({ jsonSchema }: { readonly jsonSchema: JsonSchema }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  const names = jsonSchema.propertyNames;
  if (typeof names === "object" && names.type === "string" && Object.keys(names).length === 1)
    delete jsonSchema.propertyNames;
}

/** Binds a handler to the contract of its route: parses the request, types the response. */
import type { Contract, SchemaOf } from "@fleet/protocol";
import type { Context, Handler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";
import { fail } from "./middleware/errors.ts";
import { type Input, parseBody, parseQuery, parseValue } from "./middleware/input.ts";
import type { AppEnv } from "./server.ts";

/** A contract with its handler. */
export interface Route {
  readonly contract: Contract;
  readonly handler: Handler<AppEnv>;
}

/** The regular JSON response; `undefined` when the contract has none. */
type Output<C extends Contract> =
  SchemaOf<C> extends infer S extends z.ZodType ? z.input<S> : undefined;

type Result<C extends Contract> = Output<C> | Response;

/**
 * Makes a route. Query, body and path parameters are parsed in this order, and one that is not valid is answered with 400, or
 * with the contract's `badParam`. What `respond` returns becomes the contract's first response: JSON, or an empty body for
 * `undefined`. A Response is sent as it is. `before` can respond before the body is read.
 */
export function handle<const C extends Contract>(
  contract: C,
  respond: (c: Context<AppEnv>, input: Input<C>) => Result<C> | Promise<Result<C>>,
  before?: (c: Context<AppEnv>) => Response | undefined,
): Route {
  const { query: querySchema, body: bodySchema, badParam, responses }: Contract = contract;
  const paramsSchema = contract.params && z.object(contract.params);
  const status = Number(Object.keys(responses)[0]);
  const handler: Handler<AppEnv> = async (c) => {
    const early = before?.(c);
    if (early !== undefined) return early;
    const query = querySchema && parseQuery(c, querySchema);
    if (query?.ok === false) return fail(c, "bad_request", query.detail);
    const body = bodySchema && (await parseBody(c, bodySchema));
    if (body?.ok === false) return fail(c, "bad_request", body.detail);
    const params = paramsSchema && parseValue(paramsSchema, c.req.param());
    if (params?.ok === false)
      return badParam === undefined ? fail(c, "bad_request", params.detail) : fail(c, badParam);
    const input = { query: query?.data, body: body?.data, params: params?.data } as Input<C>;
    const result = await respond(c, input);
    if (result instanceof Response) return result;
    return result === undefined
      ? c.body(null, status as 204)
      : c.json(result as object, status as ContentfulStatusCode);
  };
  return { contract, handler };
}

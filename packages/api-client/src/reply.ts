/** The result of a request as a value, for callers that act on failures. */

/**
 * The result of a request. `unreachable`: no complete response arrived. `malformed`: the response is not what the API
 * documents.
 */
export type Reply<T> =
  | {
      readonly at: "ok";
      readonly body: T;
      /** The `Date` of the response, in Unix ms with a resolution of one second. */
      readonly serverDateMs: number | undefined;
    }
  | {
      readonly at: "refused";
      readonly status: number;
      /** The API's error code; `unknown` when something else responded. */
      readonly code: string;
      readonly message: string;
      readonly retryAfterMs: number | undefined;
    }
  | { readonly at: "unreachable"; readonly reason: string }
  | { readonly at: "malformed"; readonly reason: string };

import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import { ERROR_STATUS, type ErrorCode } from "@autonomis/contract/errors.ts"

/** Every error status that an endpoint can answer with, and what each means there. */
export function errorStatuses(endpoint: Endpoint): Map<number, string[]> {
  const found = new Map<number, string[]>()
  const add = (status: number, why: string) => found.set(status, [...(found.get(status) ?? []), why])
  add(400, "bad input; `details` name each fault")
  if (endpoint.access !== "public") {
    add(401, "no API key, or a bad one")
    if (endpoint.access !== "any") add(403, "this key's role may not do that")
    if (endpoint.id !== "users.get") add(403, "the account is suspended (`suspended`)")
    add(429, "too many requests (`rate_limited`)")
  }
  const things = [...endpoint.path.matchAll(/\{(\w+)\*?\}/g)].map(([, name]) => name)
  if (things.length > 0) add(404, "no such thing, or not yours")
  if (endpoint.bodyKind !== "none" || endpoint.method !== "GET") {
    add(408, "the body came too slowly; the connection is closed (`request_timeout`)")
    add(413, "the body is too large")
  }
  if (endpoint.bodyKind !== "raw" && endpoint.method !== "GET") add(415, "the body is not `application/json`")
  if (endpoint.bodyKind === "raw") add(415, "the body has a type that is not taken, or a `Content-Encoding`")
  if (endpoint.method === "POST" && endpoint.access !== "public")
    add(409, "the `Idempotency-Key` was used with another body, or its first request is under way (`conflict`)")
  for (const code of endpoint.errors) add(ERROR_STATUS[code], ERROR_WORDS[code] ?? `\`${code}\``)
  add(500, "internal server error")
  return new Map([...found].sort(([a], [b]) => a - b).map(([status, why]) => [status, [...new Set(why)]]))
}

const ERROR_WORDS: Partial<Record<ErrorCode, string>> = {
  unauthorized: "no API key, or a bad one",
  plan_limit: "the plan's limit is reached (`plan_limit`)",
  malware: "the registry calls it malware (`malware`)",
  conflict: "it exists, or another change is in the way (`conflict`)",
  cancelled: "the run was cancelled (`cancelled`)",
  sandbox_unavailable: "no sandbox can be opened, or the disk is nearly full; says what to do (`sandbox_unavailable`)",
  ambiguous_skill: "several publishers have that name; `matches` lists them (`ambiguous_skill`)",
  needs_accept_risk: "the registry's verdict asks for `accept_risk` (`needs_accept_risk`)",
  precondition_failed: "`If-Match` or `If-None-Match` does not hold",
  range_not_satisfiable: "the range lies outside the file",
  failed_dependency: "the model provider or another outside service refused or failed; says which and why",
  concurrency_limit: "as many runs as the plan allows are under way (`concurrency_limit`)",
  budget_exhausted: "the budget is spent; says what is left and when it is new (`budget_exhausted`)",
  unavailable: "not ready for traffic",
}

const ACCESS_WORDS: Record<Endpoint["access"], string> = {
  public: "No key is needed.",
  any: "Any API key.",
  platform: "Administrators' keys.",
  owner: "Administrators, and the keys of the user in the path.",
  "owner-admin": "Administrators' keys; the user's own key gets 403.",
  agent: "Administrators, the keys of the user in the path, and the key of the agent in the path.",
}

export const accessWords = ({ access }: Endpoint): string => ACCESS_WORDS[access]

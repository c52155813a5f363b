import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import fc from "fast-check"
import { BASE_PATH } from "../../server/src/http/paths.ts"

/** A request as it goes out. `who` says whose key it bears. */
export interface WildRequest {
  endpoint: string
  method: string
  path: string
  who: "admin" | "own user" | "other user" | "own agent" | "bad" | "none"
  headers: Record<string, string>
  body?: string | Uint8Array | undefined
}

const nastyText = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    "\0",
    "\ud800",
    "..",
    "../..",
    "/",
    "__proto__",
    "constructor",
    "%00",
    "null",
    "-1",
    "a\nb: c",
  ),
  fc.constantFrom(
    "\u{1f600}",
    "\u202e",
    "A".repeat(300),
    "a-",
    "-a",
    "x".repeat(70_000),
    "1e309",
    "CON",
    "{x}",
    "' or 1=1--",
  ),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ maxLength: 10 }),
)
const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  nastyText,
  fc.constantFrom(null, true, false, 0, -1, 1.5, 2 ** 53, 1e308, [], {}, [null], [[]], { a: { b: {} } }),
  fc.array(nastyText, { maxLength: 3 }),
  fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
  fc.jsonValue({ maxDepth: 3 }),
)

/** Every place in a JSON value: what stands there can be replaced, taken away or given a neighbour. */
function placesIn(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [at]
  return [at, ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...at, key]))]
}

type How = "replace" | "remove" | "add"

function changed(value: unknown, at: readonly (string | number)[], how: How, to: unknown): unknown {
  const [key, ...rest] = at
  if (key === undefined) {
    if (how !== "add") return to
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? { ...value, [typeof to === "string" ? to : "unknown"]: to }
      : [value, to]
  }
  if (Array.isArray(value)) {
    const copy = [...value]
    if (rest.length === 0 && how === "remove") copy.splice(Number(key), 1)
    else copy[Number(key)] = changed(copy[Number(key)], rest, how, to)
    return copy
  }
  const copy = { ...(value as Record<string, unknown>) }
  if (rest.length === 0 && how === "remove") delete copy[key]
  else copy[key] = changed(copy[key], rest, how, to)
  return copy
}

/** An example's body with one to three changes. */
export const wildBody = (example: unknown): fc.Arbitrary<unknown> =>
  fc
    .array(fc.tuple(fc.nat(), fc.constantFrom<How>("replace", "remove", "add"), nastyValue), {
      minLength: 1,
      maxLength: 3,
    })
    .map((changes) =>
      changes.reduce<unknown>((value, [n, how, to]) => {
        const places = placesIn(value)
        return changed(value, places[n % places.length] ?? [], how, to)
      }, example ?? {}),
    )

const segment = (text: string) => encodeURIComponent(text.toWellFormed())
/** What a client would not take out of the path by itself. */
const isSegment = (text: string) => !["", ".", ".."].includes(text)
const exampleNames = (endpoint: Endpoint, user: string): Record<string, string> => {
  const params = Object.entries(endpoint.example?.params ?? {}).map(([name, value]) => [
    name,
    value.replace(/[{}]/g, ""),
  ])
  return { ...Object.fromEntries(params), user, agent: "manager" }
}
const pathWith = (endpoint: Endpoint, names: Record<string, string>) =>
  (endpoint.versioned ? BASE_PATH : "") +
  endpoint.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => names[name] ?? "x")

/** A header's value as `fetch` lets it through. */
const headerText = fc.string({ maxLength: 30 }).map((text) => text.replace(/[^\x21-\x7e]/g, "_"))
const wildHeaders = fc.dictionary(
  fc.constantFrom(
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Range",
    "Last-Event-ID",
    "Accept",
    "X-Forwarded-For",
    "Cookie",
  ),
  fc.oneof(
    headerText,
    fc.constantFrom("*", "bytes=0-0,1-", "bytes=9-1", '"x"', "text/event-stream", "autonomis=x", ""),
  ),
  { maxKeys: 2 },
)
const NOT_JSON = [
  "",
  "{",
  "[1,",
  '{"a":}',
  "hello",
  "\u0000",
  `${"[".repeat(5000)}`,
  '{"__proto__":{}}',
  "nul",
  "'a'",
  "1 2",
]

/** Values of a query that break its schema. */
const badQuery = (endpoint: Endpoint) =>
  fc
    .dictionary(
      fc.oneof(fc.constantFrom(...Object.keys(endpoint.query.shape), "x"), fc.string({ maxLength: 5 })),
      nastyText,
      {
        minKeys: 1,
        maxKeys: 3,
      },
    )
    .filter((query) => !Object.hasOwn(query, "__proto__") && !endpoint.query.safeParse(query).success)
    .map((query) =>
      new URLSearchParams(Object.entries(query).map(([k, v]) => [k.toWellFormed(), v.toWellFormed()])).toString(),
    )

/** A request that must be refused, whoever sends it: it is wrong in one way at least. */
export const badRequest = (user: string): fc.Arbitrary<WildRequest> =>
  fc.constantFrom(...ENDPOINTS.filter(({ access }) => access !== "public")).chain((endpoint) => {
    const { method, bodyKind } = endpoint
    const names = exampleNames(endpoint, user)
    const path = pathWith(endpoint, names)
    const json = { "Content-Type": "application/json" }
    const valid =
      bodyKind === "none" ? {} : { body: bodyKind === "json" ? JSON.stringify(endpoint.example?.body ?? {}) : "x" }
    const base = {
      endpoint: endpoint.id,
      method,
      path,
      who: "admin" as const,
      headers: bodyKind === "json" ? json : {},
      ...valid,
    }
    const faults: fc.Arbitrary<WildRequest>[] = [
      fc.constantFrom<WildRequest["who"]>("bad", "none").map((who) => ({ ...base, who })),
      badQuery(endpoint).map((query) => ({ ...base, path: `${path}?${query}` })),
      fc
        .constantFrom("PROPFIND", "POST", "PUT", "PATCH", "DELETE", "GET")
        .filter((m) => standsNowhere(m, path))
        .map((m) => ({
          ...base,
          method: m,
          ...(m === "GET" ? { body: undefined } : {}),
        })),
      fc.constantFrom("a%2fb", "%00", "%zz", "..%5c", "%ff").map((part) => ({ ...base, path: `${path}/${part}` })),
    ]
    if (endpoint.path.includes("{user}")) {
      faults.push(
        nastyText
          .filter((t) => t !== user && isSegment(t))
          .map((t) => ({ ...base, path: pathWith(endpoint, { ...names, user: segment(t) }) })),
      )
      faults.push(fc.constant({ ...base, who: "other user" as const }))
    }
    if (endpoint.path.includes("{agent}"))
      faults.push(
        nastyText
          .filter(isSegment)
          .map((t) => ({ ...base, path: pathWith(endpoint, { ...names, agent: segment(t) }) })),
      )
    if (["owner", "platform", "owner-admin"].includes(endpoint.access))
      faults.push(fc.constant({ ...base, who: "own agent" as const }))
    if (bodyKind === "json") {
      faults.push(
        wildBody(endpoint.example?.body)
          .filter((body) => body !== undefined && !endpoint.body.safeParse(asJson(body)).success)
          .map((body) => ({ ...base, body: JSON.stringify(body) ?? "null" })),
      )
      const texts = NOT_JSON.filter((text) => text !== "" || !endpoint.bodyOptional)
      faults.push(fc.constantFrom(...texts).map((body) => ({ ...base, body })))
      faults.push(
        fc
          .constantFrom("text/plain", "application/xml", "x", "multipart/form-data")
          .map((type) => ({ ...base, headers: { "Content-Type": type } })),
      )
      faults.push(
        fc
          .uint8Array({ minLength: 1, maxLength: 40 })
          .filter(isNoJson)
          .map((body) => ({ ...base, body })),
      )
    }
    if (bodyKind === "none" && method !== "GET")
      faults.push(fc.constant({ ...base, method, headers: json, body: '{"unknown":1}' }))
    return fc.oneof(...faults.map((arbitrary) => ({ arbitrary, weight: 1 })))
  })

/** A request that may be right or wrong; nobody knows. What it must not do is to break the server. */
export const oddRequest = (user: string, allowed: (endpoint: Endpoint) => boolean): fc.Arbitrary<WildRequest> =>
  fc.constantFrom(...ENDPOINTS.filter(allowed)).chain((endpoint) => {
    const names = exampleNames(endpoint, user)
    const own = Object.keys(names).filter((name) => !["user", "agent"].includes(name))
    const things = fc.record(
      Object.fromEntries(
        own.map((name) => [name, fc.oneof(fc.constant(names[name] ?? ""), nastyText.filter(isSegment).map(segment))]),
      ),
    )
    const query = fc.dictionary(
      fc.constantFrom(...Object.keys(endpoint.query.shape), "limit"),
      fc.oneof(nastyText, fc.constantFrom("1", "5", "true")),
      { maxKeys: 2 },
    )
    const body =
      endpoint.bodyKind === "none"
        ? fc.constant(undefined)
        : wildBody(endpoint.example?.body).map((value) => JSON.stringify(value) ?? "null")
    return fc.tuple(things, query, body, wildHeaders).map(([params, search, text, headers]) => ({
      endpoint: endpoint.id,
      method: endpoint.method,
      path: `${pathWith(endpoint, { ...names, ...params })}?${new URLSearchParams(Object.entries(search).map(([k, v]) => [k, v.toWellFormed()]))}`,
      who: "admin" as const,
      headers: { ...(endpoint.bodyKind === "json" ? { "Content-Type": "application/json" } : {}), ...headers },
      ...(text === undefined ? {} : { body: text }),
    }))
  })

/** What is left of a value once it went over the wire. */
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value) ?? "null")

function isNoJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(Buffer.from(bytes).toString())
    return false
  } catch {
    return true
  }
}

function standsNowhere(method: string, path: string): boolean {
  return !ENDPOINTS.some((endpoint) => {
    const pattern = ((endpoint.versioned ? BASE_PATH : "") + endpoint.path)
      .replace(/\{\w+\*\}/g, ".*")
      .replace(/\{\w+\}/g, "[^/]+")
    return endpoint.method === method && new RegExp(`^${pattern}$`).test(path)
  })
}

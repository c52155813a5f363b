import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import { BASE_PATH } from "../../server/src/http/paths.ts"
import type { AppAnswer, TestApp } from "../app.ts"
import { until } from "../until.ts"
import { PLACES } from "./places.ts"

/** A fresh account with two agents, and the keys of everybody who may come. */
export interface Cast {
  app: TestApp
  /** `/users/{its name}` */
  path: string
  user: { name: string; key: string }
  agents: { manager: string; writer: string }
}

let made = 0

export async function newCast(app: TestApp, bare = false): Promise<Cast> {
  const name = `cast-${++made}`
  const path = `/users/${name}`
  const created = await expectOk(app.call("POST", "/users", { body: { user: name, tier: "enterprise" } }))
  const key = created.body.api_key
  if (bare) return { app, path, user: { name, key }, agents: { manager: "", writer: "" } }
  const body = { agents: [{ name: "manager" }, { name: "writer" }] }
  const [manager, writer] = (await expectOk(app.call("POST", `${path}/agents`, { key, body }))).body.agents
  // What a deployment still writes would look like a change that a later request made.
  await until(
    async () => (await expectOk(app.call("GET", `${path}/deploy/status`, { key }))).body.status === "ready",
    "the agents are deployed",
  )
  return { app, path, user: { name, key }, agents: { manager: manager.api_key, writer: writer.api_key } }
}

export async function expectOk(call: Promise<AppAnswer>): Promise<AppAnswer> {
  const answer = await call
  if (answer.status >= 300) throw new Error(`${answer.status} ${answer.text}`)
  return answer
}

/** The example of an endpoint as a request of this cast. `absent`: about a thing that is not there. */
export async function exampleOf(endpoint: Endpoint, cast: Cast, absent = false) {
  const place = PLACES[endpoint.id]
  const things = absent ? {} : ((await place?.before?.(cast)) ?? {})
  const { params = {}, query = {}, body, contentType } = endpoint.example ?? {}
  const values = { ...params, ...(absent ? place?.absent : {}), user: cast.user.name, agent: "manager" }
  const filled = (text: string) => text.replace(/^\{(\w+)\}$/, (whole, name: string) => things[name] ?? whole)
  const path = endpoint.path.replace(/\{(\w+)\*?\}/g, (whole, name: string) =>
    filled(values[name as keyof typeof values] ?? whole),
  )
  const search = new URLSearchParams(query).toString()
  return {
    path: `/${endpoint.versioned ? BASE_PATH : ""}${path}${search && `?${search}`}`,
    ...(body === undefined ? {} : { body: fillIn(body, filled) }),
    ...(contentType === undefined ? {} : { headers: { "Content-Type": contentType } }),
  }
}

function fillIn(value: unknown, filled: (text: string) => string): unknown {
  if (typeof value === "string") return filled(value)
  if (Array.isArray(value)) return value.map((each) => fillIn(each, filled))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fillIn(each, filled)]))
}

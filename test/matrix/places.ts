import { until } from "../until.ts"
import type { Cast } from "./cast.ts"

/** What an endpoint's example needs to be there, and what stands for a thing that is not. */
export interface Place {
  /** Values for the example's placeholders (`{run_id}`), and whatever else must be there first. */
  before?(cast: Cast): Promise<Record<string, string>>
  /** Path parameters of a thing that is not there: 404. */
  absent?: Record<string, string>
  /** Leave out the agents that the example itself creates. */
  bare?: true
  /** Statuses that the example may get beside the contract's successes, and why. */
  also?: { status: number; because: string }
}

const chat = async ({ app, path, user }: Cast, text: string, more: object = {}) => {
  const body = { messages: [{ role: "user", content: text }], ...more }
  const answer = await app.call("POST", `${path}/agents/manager/chat`, { key: user.key, body })
  if (answer.status >= 300) throw new Error(`the example's chat got ${answer.status} ${answer.text}`)
  return answer.body
}
const aRun = async (cast: Cast) => ({ run_id: (await chat(cast, "hello")).run_id })
const aRunningRun = async (cast: Cast) => {
  const { run_id } = await chat(cast, '/tool bash {"command":"sleep 20"}', { background: true })
  const look = () => cast.app.call("GET", `${cast.path}/agents/manager/runs/${run_id}`, { key: cast.user.key })
  await until(async () => (await look()).body.state === "running", "the run to be under way")
  return { running_run_id: run_id }
}
const aSession = async (cast: Cast) => {
  await chat(cast, "hello", { session: "notes" })
  const { body } = await cast.app.call("GET", `${cast.path}/agents/manager/sessions/notes`, { key: cast.user.key })
  return { session: "notes", message_id: body.messages[0].id }
}
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
const anImage = async ({ app, path, user }: Cast) => {
  const content = [{ type: "image", mime_type: "image/png", data: PIXEL }]
  const body = { session: "notes", messages: [{ role: "user", content }] }
  const answer = await app.call("POST", `${path}/agents/manager/chat`, { key: user.key, body })
  if (answer.status >= 300) throw new Error(`the example's chat got ${answer.status} ${answer.text}`)
  const read = await app.call("GET", `${path}/agents/manager/sessions/notes`, { key: user.key })
  const [message] = read.body.messages
  return { session: "notes", message_id: message.id, hash: message.content[0].hash }
}
const put =
  (path: string, body: unknown, contentType = "application/json") =>
  async (cast: Cast) => {
    const headers = { "Content-Type": contentType }
    const answer = await cast.app.call("PUT", `${cast.path}${path}`, { key: cast.user.key, body, headers })
    if (answer.status >= 300) throw new Error(`PUT ${path} got ${answer.status} ${answer.text}`)
    return {}
  }
const aFile = put("/agents/manager/files/notes.txt", "Remember the milk.\n", "text/plain")
const aSecret = put("/secrets", { secrets: { GITHUB_TOKEN: "ghp_example_0123456789" } })
const SKILL = "---\nname: greeter\ndescription: Greets people. Use when asked for a greeting.\n---\n\nSay hello.\n"
const aSkill = put("/skills/greeter/file", SKILL, "text/markdown")

/**
 * Every endpoint has its place here, by its id; the role matrix, the examples of the reference and the search for bad
 * requests are made from the endpoint table and this. An endpoint without a place fails the suite.
 */
export const PLACES: Record<string, Place> = {
  "health.root": {},
  "health.get": {},
  "health.ready": {},
  "users.create": {},
  "users.list": {},
  "users.get": {},
  "users.delete": {},
  "users.setTier": {},
  "users.setLimits": {},
  "users.setState": {},
  "users.rotateKey": {},
  "users.signInLink": {},
  "users.impersonate": {},
  "plans.list": {},
  "agents.create": { bare: true },
  "agents.list": {},
  "agents.get": {},
  "agents.update": {},
  "agents.configure": {},
  "agents.delete": {},
  "agents.rotateKey": {},
  "agents.ping": {},
  "agents.connect": {},
  "agents.deployStatus": {},
  "models.list": {},
  "models.test": {},
  "chat.send": {},
  "chat.stream": {},
  "runs.get": { before: aRun, absent: { run_id: "run_none" } },
  "runs.stream": { before: aRun, absent: { run_id: "run_none" } },
  "runs.cancel": { before: aRunningRun, absent: { run_id: "run_none" } },
  "sessions.list": {},
  "sessions.get": { before: aSession, absent: { session: "none" } },
  "sessions.delete": { before: aSession, absent: { session: "none" } },
  "sessions.cut": { before: aSession, absent: { session: "notes", id: "msg_none" } },
  "sessions.image": { before: anImage, absent: { session: "notes", id: "msg_none", hash: "0".repeat(64) } },
  "templates.platformGet": {},
  "templates.platformPut": {},
  "templates.userGet": {},
  "templates.userPut": {},
  "templates.agentGet": {},
  "templates.agentPut": {},
  "secrets.put": {},
  "secrets.list": {},
  "secrets.delete": { before: aSecret, absent: { key: "NONE" } },
  "files.read": { before: aFile, absent: { path: "none.txt" } },
  "files.write": {},
  "files.delete": { before: aFile, absent: { path: "none.txt" } },
  "skills.list": {},
  "skills.read": { before: aSkill, absent: { id: "none" } },
  "skills.upload": {},
  "skills.delete": { before: aSkill, absent: { id: "none" } },
  "skills.search": {},
  "skills.install": { absent: { slug: "none-such" } },
  "usage.get": {},
  "logs.user": {},
  "logs.platform": {},
  "audit.user": {},
  "audit.platform": {},
  "me.get": {},
  "platform.status": {},
  "platform.pause": {},
  "session.create": { before: async ({ user }) => ({ api_key: user.key }) },
  "session.delete": {},
}

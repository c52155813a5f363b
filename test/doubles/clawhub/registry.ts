import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import * as answers from "./answers.ts"
import { catalogue, fingerprintOf, type Skill, sha256, T0, type Version } from "./catalogue.ts"

/** A request that the double answered. */
export interface LoggedRequest {
  method: string
  url: string
  status: number
  userAgent: string | null
  body: string
}

export interface Trouble {
  /** Paths that begin so. */
  path: string
  status: number
  times: number
  retryAfter?: number
  /** Instead: never answers, closes the connection, sends a byte now and then, or sends without end. */
  how?: "status" | "hang" | "drop" | "drip" | "flood"
}

/** A ClawHub registry on loopback that the official client (0.23.3) and OpenClaw (2026.9.6) accept. */
export interface RegistryDouble extends AsyncDisposable {
  readonly url: string
  /** Tests may add to it and change it. */
  readonly skills: Skill[]
  readonly log: LoggedRequest[]
  /** Makes a staged version public, and so the latest. */
  publish(owner: string, slug: string, version: string): void
  /** Downloads no longer match the published hashes. */
  tamper(on: boolean): void
  /** A publisher who was renamed: the old handle leads to the new one. */
  alias(from: string, to: string): void
  /** What discovery answers; null: nothing stands there. */
  discovery(answer: object | null): void
  /** Archives come in eight pieces, each once `gate` has been waited for; null: at once again. */
  slow(gate: ((piece: number) => Promise<void>) | null): void
  fail(trouble: Trouble): void
  heal(): void
}

type Body = Buffer | string | object

interface Reply {
  status: number
  body: Body
  headers: Record<string, string | number>
}

const reply = (status: number, body: Body, headers: Reply["headers"] = {}): Reply => ({ status, body, headers })

interface Call {
  request: IncomingMessage
  path: string
  query: URLSearchParams
  body: string
  origin: string
}

export async function startRegistryDouble(): Promise<RegistryDouble> {
  const skills = catalogue()
  const log: LoggedRequest[] = []
  const troubles: Trouble[] = []
  const state: State = { skills, tampered: false, aliases: new Map() }
  const server = createServer((request, response) => {
    handle(state, troubles, log, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: urlOf(server),
    skills,
    log,
    publish(owner, slug, version) {
      const found = skills.find((skill) => skill.owner.handle === owner && skill.slug === slug)
      const staged = found?.versions.find((one) => one.version === version)
      if (staged === undefined) throw new Error(`no ${owner}/${slug}@${version} to publish`)
      staged.public = true
    },
    tamper(on) {
      state.tampered = on
    },
    alias: (from, to) => void state.aliases.set(from, to),
    discovery(answer) {
      state.discovery = answer
    },
    slow(gate) {
      state.gate = gate
    },
    fail: (trouble) => void troubles.push({ ...trouble }),
    heal: () => void troubles.splice(0),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function urlOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the double does not listen")
  return `http://127.0.0.1:${address.port}`
}

interface State {
  skills: Skill[]
  tampered: boolean
  aliases: Map<string, string>
  /** Undefined: that the API is here. */
  discovery?: object | null
  gate?: ((piece: number) => Promise<void>) | null
}

async function handle(
  state: State,
  troubles: Trouble[],
  log: LoggedRequest[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  const origin = `http://${request.headers.host}`
  const url = new URL(request.url ?? "/", origin)
  const send = ({ status, body: payload, headers }: Reply) => {
    const text = typeof payload === "string"
    const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(text ? payload : JSON.stringify(payload))
    const type = Buffer.isBuffer(payload) ? "application/zip" : text ? "text/plain; charset=utf-8" : "application/json"
    const userAgent = request.headers["user-agent"] ?? null
    log.push({ method: request.method ?? "", url: request.url ?? "", status, userAgent, body })
    response.writeHead(status, {
      "Content-Type": type,
      "Content-Length": bytes.length,
      "Cache-Control": "no-store",
      ...rates(url.pathname),
      ...headers,
    })
    if (url.pathname === "/api/v1/download" && state.gate) void trickle(response, bytes, state.gate)
    else response.end(bytes)
  }
  const trouble = troubles.find((one) => one.times > 0 && url.pathname.startsWith(one.path))
  if (trouble) return strike(trouble, response, send)
  send(answer(state, { request, path: url.pathname, query: url.searchParams, body, origin }))
}

async function trickle(response: ServerResponse, bytes: Buffer, gate: (piece: number) => Promise<void>): Promise<void> {
  const size = Math.ceil(bytes.length / 8)
  response.flushHeaders()
  for (let piece = 0; piece * size < bytes.length; piece++) {
    await gate(piece)
    response.write(bytes.subarray(piece * size, (piece + 1) * size))
  }
  response.end()
}

function strike(trouble: Trouble, response: ServerResponse, send: (reply: Reply) => void): void {
  trouble.times--
  if (trouble.how === "hang") return
  if (trouble.how === "drop") {
    response.destroy()
    return
  }
  if (trouble.how === "flood") {
    response.writeHead(200, { "Content-Type": "application/zip" })
    const piece = Buffer.alloc(1024 * 1024, "x")
    const pour = () => {
      while (!response.destroyed && response.write(piece)) {}
    }
    response.on("drain", pour)
    pour()
    return
  }
  if (trouble.how === "drip") {
    response.writeHead(200, { "Content-Type": "application/zip" })
    const timer = setInterval(() => response.write("x"), 50)
    response.once("close", () => clearInterval(timer))
    return
  }
  const text = trouble.status === 429 ? "Rate limit exceeded" : "Try again later"
  const after = trouble.retryAfter === undefined ? {} : { "Retry-After": trouble.retryAfter }
  send(reply(trouble.status, text, { "X-RateLimit-Remaining": 0, "RateLimit-Remaining": 0, ...after }))
}

function rates(path: string): Record<string, number> {
  const limit = path === "/api/v1/download" ? 1200 : 3000
  const now = Math.floor(Date.now() / 1000)
  const reset = 60 - (now % 60)
  return {
    "X-RateLimit-Limit": limit,
    "X-RateLimit-Reset": now + reset,
    "RateLimit-Limit": limit,
    "RateLimit-Reset": reset,
  }
}

/** The skill that a slug and an owner name; several when only the slug is given and it is not enough. */
function find({ skills, aliases }: State, slug: string, owner: string | null | undefined): Skill[] {
  const wanted = slug.trim().toLowerCase()
  const given = owner?.trim().replace(/^@+/, "").toLowerCase() ?? ""
  const handle = aliases.get(given) ?? given
  return skills.filter((skill) => skill.slug === wanted && (!handle || skill.owner.handle === handle))
}

function answer(state: State, call: Call): Reply {
  const { path, origin } = call
  if (path === "/.well-known/clawhub.json" && state.discovery !== undefined)
    return state.discovery === null ? reply(404, "Not found") : reply(200, state.discovery)
  if (path === "/.well-known/clawhub.json")
    return reply(200, { apiBase: origin, authBase: origin, minCliVersion: "0.1.0", registry: origin })
  if (path === "/api/cli/telemetry/install") return reply(200, { ok: true })
  if (path === "/api/v1/whoami")
    return call.request.headers.authorization
      ? reply(200, { user: { handle: "tester", displayName: "Tester", image: null, role: "user" } })
      : reply(401, "Unauthorized")
  if (path === "/api/v1/search") return search(state, call)
  if (path === "/api/v1/trending")
    return reply(200, { items: state.skills.slice(0, 2).map((skill) => answers.searchRow(skill, 0)), nextCursor: null })
  if (path === "/api/v1/skills") return list(state, call)
  if (path === "/api/v1/resolve") return resolve(state, call)
  if (path === "/api/v1/download") return download(state, call)
  if (path === "/api/v1/skills/-/security-verdicts") return verdicts(state, call)
  const discovery = /^\/api\/v1\/agent-skills\/([^/]+)\/([^/]+)\/(index\.json|archive)$/.exec(path)
  if (discovery) return agentSkills(state, call, discovery)
  const below =
    /^\/api\/v1\/skills\/([^/]+)(?:\/(install|versions|scan|verify|card|file|moderation)(?:\/([^/]+))?)?$/.exec(path)
  if (below) return ofSkill(state, call, below)
  return reply(404, "Not found")
}

function search({ skills }: State, { query }: Call): Reply {
  const mode = query.get("mode")
  if (mode && mode !== "exact") return reply(400, "Invalid search mode")
  const text = (query.get("q") ?? "").trim().replace(/^@/, "").toLowerCase()
  if (text === "") return reply(200, { results: [] })
  const limit = Math.min(Math.max(Number(query.get("limit") ?? 10) || 10, 1), 100)
  const matches = skills.filter((skill) => {
    if (answers.latestOf(skill)?.status === "malicious") return false
    const words = `${skill.owner.handle}/${skill.slug} ${skill.displayName} ${skill.summary}`.toLowerCase()
    return mode === "exact" ? skill.slug === text : words.includes(text)
  })
  return reply(200, { results: matches.slice(0, limit).map((skill, i) => answers.searchRow(skill, 6000 - i)) })
}

function list({ skills }: State, { query }: Call): Reply {
  const limit = Math.min(Number(query.get("limit") ?? 25) || 25, 200)
  const start = Number(query.get("cursor") ?? 0)
  const all = skills.filter((skill) => skill.slug.startsWith(query.get("prefix") ?? ""))
  const nextCursor = start + limit < all.length ? String(start + limit) : null
  return reply(200, { items: all.slice(start, start + limit).map(answers.listItem), nextCursor })
}

function resolve(state: State, { query }: Call): Reply {
  const slug = query.get("slug") ?? ""
  const hash = (query.get("hash") ?? "").toLowerCase()
  if (!slug || !hash) return reply(400, "Missing slug or hash")
  if (!/^[a-f0-9]{64}$/.test(hash)) return reply(400, "Invalid hash")
  const found = find(state, slug, query.get("ownerHandle"))
  const [skill] = found
  if (skill === undefined) return reply(404, "Skill not found")
  if (found.length > 1) return reply(409, `Ambiguous skill slug "${slug}".`)
  // The file that the registry adds to its archives is not in its fingerprints.
  const match = answers.publicVersions(skill).find((version) => fingerprintOf(version.files) === hash)
  const latest = answers.latestOf(skill)
  return reply(200, {
    slug,
    match: match ? { version: match.version } : null,
    latestVersion: latest && { version: latest.version },
  })
}

function pick(skill: Skill, query: URLSearchParams): Version | null {
  const wanted = query.get("version")
  if (wanted) return answers.publicVersions(skill).find((version) => version.version === wanted) ?? null
  const tag = query.get("tag")
  return tag && tag !== "latest" ? null : answers.latestOf(skill)
}

function download(state: State, { query }: Call): Reply {
  const slug = query.get("slug")
  if (!slug) return reply(400, "Missing slug")
  const found = find(state, slug, query.get("ownerHandle") ?? query.get("owner"))
  const [skill] = found
  if (skill === undefined) return reply(404, "Skill not found")
  if (found.length > 1) return reply(409, `Slug "${slug}" is ambiguous; name the owner.`)
  const version = pick(skill, query)
  if (version === null) return reply(404, "Version not found")
  if (version.status === "malicious") return reply(403, "Download refused: flagged as malicious.")
  if (version.onGitHub) return reply(200, { installKind: "github", repo: "acme/elsewhere" })
  return reply(200, answers.archiveOf(skill, version, state.tampered), {
    "Content-Disposition": `attachment; filename="${skill.slug}-${version.version}.zip"`,
    "Cache-Control": "private, max-age=60",
  })
}

function verdicts(state: State, { body, origin }: Call): Reply {
  const { items } = JSON.parse(body) as { items?: answers.VerdictRequest[] }
  if (!Array.isArray(items) || items.length < 1 || items.length > 100) return reply(400, "items: 1 to 100")
  const given = items.map((item) =>
    answers.verdictOf(item, find(state, item.slug, item.ownerHandle)[0] ?? null, origin),
  )
  return reply(200, { schema: "clawhub.skill.security-verdicts.v1", items: given })
}

function agentSkills(state: State, { query, origin }: Call, [, owner, slug, what]: RegExpExecArray): Reply {
  const [skill] = find(state, slug ?? "", owner)
  const latest = skill && answers.latestOf(skill)
  if (skill === undefined || !latest) return reply(404, "Skill not found")
  if (what === "archive") {
    const version = answers.publicVersions(skill).find((one) => one.version === query.get("version"))
    return version ? reply(200, answers.plainArchiveOf(version)) : reply(409, "Unknown archive version.")
  }
  const url = `${origin}/api/v1/agent-skills/${owner}/${slug}/archive?version=${latest.version}`
  return reply(200, {
    $schema: "https://schemas.agentskills.io/discovery/0.2.0/schema.json",
    skills: [
      {
        ...{ name: skill.slug, type: "archive", description: skill.summary, url },
        digest: `sha256:${sha256(answers.plainArchiveOf(latest))}`,
      },
    ],
  })
}

function ofSkill(state: State, call: Call, [, rawSlug, what, rest]: RegExpExecArray): Reply {
  const { query, origin } = call
  const slug = decodeURIComponent(rawSlug ?? "")
  const found = find(state, slug, query.get("ownerHandle") ?? query.get("owner"))
  const [skill] = found
  if (skill === undefined) return reply(404, "Skill not found")
  if (found.length > 1)
    return what === "install" ? reply(404, "Skill not found") : reply(409, ambiguous(slug, found, origin))
  if (what === undefined) return reply(200, answers.detailOf(skill))
  if (what === "versions" && rest === undefined) return reply(200, versionList(skill))
  if (what === "versions") {
    const version = answers.publicVersions(skill).find((one) => one.version === decodeURIComponent(rest ?? ""))
    return version ? reply(200, answers.versionOf(skill, version)) : reply(404, "Version not found")
  }
  if (what === "moderation") {
    const moderation = answers.moderationOf(skill)
    return moderation
      ? reply(200, { moderation: { ...moderation, legacyReason: null, evidence: [] } })
      : reply(404, "Moderation details unavailable")
  }
  const version = pick(skill, query)
  if (version === null) return reply(404, "Version not found")
  if (what === "install") return reply(200, installOf(skill, version, query, origin))
  if (what === "scan") return reply(200, answers.scanAnswer(skill, version))
  if (what === "verify") return reply(200, answers.verifyAnswer(skill, version, query, origin))
  if (what === "file") return fileOf(version, query.get("path")?.trim() ?? "")
  return reply(404, "Skill Card not found")
}

function ambiguous(slug: string, found: readonly Skill[], origin: string) {
  const matches = found.map(({ owner }) => ({
    ownerHandle: owner.handle,
    slug,
    ref: `@${owner.handle}/${slug}`,
    url: `${origin}/${owner.handle}/skills/${slug}`,
  }))
  return { code: "AMBIGUOUS_SKILL_SLUG", message: `Slug "${slug}" belongs to several owners:`, slug, matches }
}

function versionList(skill: Skill) {
  const items = [...answers.publicVersions(skill)].reverse()
  return {
    items: items.map(({ version, changelog }) => ({ version, createdAt: T0, changelog, changelogSource: "user" })),
    nextCursor: null,
  }
}

function installOf(skill: Skill, version: Version, query: URLSearchParams, origin: string) {
  const owner = query.get("ownerHandle") ? `&ownerHandle=${skill.owner.handle}` : ""
  const downloadUrl = `${origin}/api/v1/download?slug=${skill.slug}${owner}&version=${version.version}`
  return { ok: true, slug: skill.slug, installKind: "archive", archive: { version: version.version, downloadUrl } }
}

function fileOf(version: Version, path: string): Reply {
  if (path === "") return reply(400, "Missing path")
  const file = version.files.find((one) => one.path === path)
  if (file === undefined) return reply(404, "File not found")
  const { contentType, size, sha256: hash } = file
  return reply(200, file.bytes, {
    ...{ "Content-Type": contentType, ETag: hash, "X-Content-SHA256": hash, "X-Content-Size": size },
    "X-Content-Type-Options": "nosniff",
  })
}

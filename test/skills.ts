import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Database } from "../server/src/db/database.ts"
import type { Origin } from "../server/src/http/endpoint.ts"
import { silentLogger } from "../server/src/lib/log.ts"
import { createRegistry } from "../server/src/skills/registry.ts"
import { registryHttp } from "../server/src/skills/registry-http.ts"
import { createSkills, type Skills, type SkillsOptions } from "../server/src/skills/skills.ts"

export const ORIGIN: Origin = { actor: "user:ada", ip: null, requestId: "req_test" }
export const NO_SIGNAL = new AbortController().signal

/** The skills domain on a real database and a folder of its own, for one user and one agent. */
export interface SkillsUnderTest extends Disposable {
  skills: Skills
  dataDir: string
  user: { id: string; name: string }
  agentId: string
  /** Put into and taken out of by tests. */
  secrets: Set<string>
  programs: Set<string>
  clock: { now(): number; time: number }
  /** How long the registry's client wanted to wait; it does not wait. */
  waits: number[]
  /** Every file and link below the data folder. */
  files(): Promise<string[]>
  upload(id: string, bytes: string | Buffer): ReturnType<Skills["upload"]>
}

interface Options extends Partial<SkillsOptions> {
  db: Database
  budgetMs?: number
}

export async function skillsUnderTest({ db, budgetMs = 10_000, ...more }: Options): Promise<SkillsUnderTest> {
  const dataDir = more.dataDir ?? mkdtempSync(join(tmpdir(), "autonomis-skills-"))
  const user = { id: "usr_ada", name: "ada" }
  const agentId = "agt_manager"
  await addUser(db, user, agentId)
  const secrets = new Set<string>()
  const programs = new Set(["sh"])
  const clock = { time: Date.parse("2026-03-01T12:00:00Z"), now: () => clock.time }
  const waits: number[] = []
  const registryUrl = more.registryUrl ?? "http://127.0.0.1:9"
  const http = registryHttp({
    url: registryUrl,
    now: clock.now,
    budgetMs,
    wait: async (ms, signal) => {
      signal.throwIfAborted()
      waits.push(ms)
    },
  })
  const skills = createSkills({
    clock,
    dataDir,
    log: silentLogger,
    registry: createRegistry(http),
    registryUrl,
    seenIn: "sandbox",
    secretKeys: async () => [...secrets],
    binaries: async () => programs,
    ensureStorage: async () => {},
    storageChanged() {},
    ...more,
    db,
  })
  return {
    ...{ skills, dataDir, user, agentId, secrets, programs, clock, waits },
    files: () => filesBelow(dataDir),
    upload(id, bytes) {
      const kind = Buffer.isBuffer(bytes) ? "zip" : "markdown"
      return skills.upload(user, id, { kind, bytes: stream(Buffer.from(bytes)) }, ORIGIN, NO_SIGNAL)
    },
    [Symbol.dispose]() {
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function addUser(db: Database, user: { id: string; name: string }, agentId: string): Promise<void> {
  const known = await db.read.selectFrom("users").select("id").where("id", "=", user.id).executeTakeFirst()
  if (known !== undefined) return
  const names = { email: null, display_name: null, state_reason: null }
  const row = { ...user, ...names, tier: "free", state: "active", limits: "{}", created_at: 0 } as const
  await db.kysely.insertInto("users").values(row).execute()
  const agent = { id: agentId, user_id: user.id, name: "manager", description: null, is_default: 1, config: "{}" }
  const rest = { host_uid: 70_001, deploy: "[]", memory: "", prompt_version: 0, created_at: 0, last_active_at: null }
  await db.kysely
    .insertInto("agents")
    .values({ ...agent, ...rest })
    .execute()
}

async function* stream(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

/** Links are named and not followed (as `readdir` would with `recursive`). */
async function filesBelow(folder: string, below = ""): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = join(below, entry.name)
    if (entry.isDirectory()) found.push(...(await filesBelow(folder, path)))
    else found.push(path)
  }
  return found.sort()
}

/** The folders that lie in staging: of a request that is over there must be none. */
export function stagingOf(dataDir: string, userId: string): string[] {
  try {
    return readdirSync(join(dataDir, "users", userId, "skills", "staging"))
  } catch {
    return []
  }
}

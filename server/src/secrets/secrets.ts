import type { SecretsInput } from "@autonomis/contract/agents.ts"
import type { Secret } from "@autonomis/contract/secrets.ts"
import type { z } from "zod"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import { lockUser } from "../db/lock-user.ts"
import type { Origin, UserRef } from "../http/endpoint.ts"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { isMaskable } from "../lib/redact.ts"
import { seal, unseal } from "../lib/seal.ts"
import { PROVIDER_VARIABLES } from "../runtime/providers.ts"
import { checkSecrets } from "./input.ts"
import { createMasterKeys, newDataKey, sealDataKey, unsealDataKey } from "./master-keys.ts"
import { type SecretRow, secretStore } from "./store.ts"

const MAX_SECRETS = 1000
const USERS_KEPT = 500

export type SecretsBody = z.output<typeof SecretsInput>

export interface Secrets {
  put(user: UserRef, input: SecretsBody, origin: Origin): Promise<Secret[]>
  /** The steps of a `put` for the batch of another change, run behind the user's lock; then call `forget`. */
  putSteps(
    user: UserRef,
    input: SecretsBody,
    newAgents: ReadonlyMap<string, string>,
    origin: Origin,
  ): Promise<readonly Step[]>
  list(userId: string): Promise<Secret[]>
  delete(user: UserRef, key: string, origin: Origin): Promise<void>
  /** What the commands of an agent see: the secrets of every agent and its own, without the providers' variables. */
  environment(userId: string, agentId: string): Promise<Record<string, string>>
  /**
   * The user's own provider keys and base URLs by their names, as each agent has them. A key that is given to other agents
   * only has the value null: it is set, so the platform's is not used, but this agent may not use it either.
   */
  providerValues(userId: string): Awaitable<(agentId?: string) => ReadonlyMap<string, string | null>>
  /** Everything to be masked in what comes from the user's sandboxes. */
  maskValues(userId: string): Promise<{ name: string; value: string }[]>
  /** Drops what is kept of a user in memory. */
  forget(userId: string): void
}

interface Opened {
  key: string
  value: string
  /** Ids; null: every agent. */
  agents: string[] | null
}

interface Kept {
  stamp: string
  secrets: Awaitable<readonly Opened[]>
}

export interface SecretsOptions {
  db: Database
  clock: Clock
  masterKey: Uint8Array
}

export function createSecrets({ db, clock, masterKey }: SecretsOptions): Secrets {
  const store = secretStore(db)
  const masterKeys = createMasterKeys(db, masterKey)
  const kept = new Map<string, Kept>()

  async function dataKey(userId: string): Promise<Buffer | null> {
    const row = await store.dataKey(userId)
    if (row === undefined) return null
    return unsealDataKey(await masterKeys.byVersion(row.master_version), userId, row.sealed)
  }

  async function ensureDataKey(userId: string): Promise<Buffer> {
    const known = await dataKey(userId)
    if (known !== null) return known
    const master = await masterKeys.current()
    await store.addDataKey(userId, sealDataKey(master, userId, newDataKey()), master.version, clock.now())
    const made = await dataKey(userId)
    if (made === null) throw new AppError("not_found", "user not found")
    return made
  }

  async function open(userId: string): Promise<Opened[]> {
    const rows = await store.list(userId)
    if (rows.length === 0) return []
    const key = await dataKey(userId)
    // The user is being deleted: without a data key nothing can be read any more.
    if (key === null) return []
    return rows.map((row) => ({
      key: row.key,
      value: unseal(key, row.sealed, placeOf(userId, row.key)).toString(),
      agents: agentsOf(row),
    }))
  }

  /** Only this server writes to SQLite, so there what is kept is right until `forget`; elsewhere a look tells. */
  const opened = (userId: string): Awaitable<readonly Opened[]> =>
    db.dialect === "sqlite" ? openedAt(userId, "") : store.stamp(userId).then((stamp) => openedAt(userId, stamp))

  function openedAt(userId: string, stamp: string): Awaitable<readonly Opened[]> {
    const known = kept.get(userId)
    if (known?.stamp === stamp) return known.secrets
    if (kept.size >= USERS_KEPT) kept.delete(kept.keys().next().value ?? "")
    const secrets = open(userId)
    const entry: Kept = { stamp, secrets }
    kept.set(userId, entry)
    secrets.then(
      (there) => {
        entry.secrets = there
      },
      () => {
        if (kept.get(userId) === entry) kept.delete(userId)
      },
    )
    return secrets
  }

  async function list(userId: string): Promise<Secret[]> {
    const [rows, agents] = await Promise.all([store.list(userId), store.agentNames(userId)])
    const names = new Map(agents.map((agent) => [agent.id, agent.name]))
    return rows.map((row) => ({
      key: row.key,
      value: "********" as const,
      agents: agentsOf(row)?.flatMap((id) => names.get(id) ?? []) ?? null,
      masked: row.masked === 1,
      updated_at: iso(row.updated_at),
    }))
  }

  async function putSteps(
    user: UserRef,
    input: SecretsBody,
    newAgents: ReadonlyMap<string, string>,
    origin: Origin,
  ): Promise<readonly Step[]> {
    const agents = await store.agentNames(user.id)
    const ids = new Map([...agents.map((agent) => [agent.name, agent.id] as const), ...newAgents])
    const checked = checkSecrets(input, ids)
    if (checked.length === 0) return []
    const key = await ensureDataKey(user.id)
    const now = clock.now()
    const tooMany = () =>
      new AppError("plan_limit", `a user has at most ${MAX_SECRETS} secrets`, {
        extra: { limit: "secrets", max: MAX_SECRETS },
      })
    const names = checked.map((secret) => secret.key).join(",")
    return [
      ...checked.map(({ key: name, value, agents: given }) =>
        store.put(
          user.id,
          {
            key: name,
            sealed: seal(key, value, placeOf(user.id, name)),
            masked: isMaskable(value) ? 1 : 0,
            updated_at: now,
          },
          given === undefined || given === null ? given : JSON.stringify(given),
        ),
      ),
      store.atMost(user.id, MAX_SECRETS, tooMany),
      auditStep(db, origin, { userId: user.id, action: "secrets.put", target: `secret:${user.name}/${names}` }, now),
    ]
  }

  return {
    putSteps,
    list,
    async put(user, input, origin) {
      const steps = await putSteps(user, input, new Map(), origin)
      if (steps.length > 0) await db.batch([lockUser(db, user.id), ...steps])
      kept.delete(user.id)
      return list(user.id)
    },
    async delete(user, key, origin) {
      const name = key.toUpperCase()
      const change = { userId: user.id, action: "secrets.delete", target: `secret:${user.name}/${name}` }
      await db.batch([
        lockUser(db, user.id),
        store.delete(user.id, name, () => new AppError("not_found", "secret not found")),
        auditStep(db, origin, change, clock.now()),
      ])
      kept.delete(user.id)
    },
    async environment(userId, agentId) {
      const secrets = (await opened(userId)).filter(
        ({ key, agents }) => !PROVIDER_VARIABLES.has(key) && (agents === null || agents.includes(agentId)),
      )
      return Object.fromEntries(secrets.map(({ key, value }) => [key, value]))
    },
    providerValues: (userId) => whenThere(opened(userId), (secrets) => (agentId) => providerValuesOf(secrets, agentId)),
    async maskValues(userId) {
      return (await opened(userId)).map(({ key, value }) => ({ name: key, value }))
    },
    forget(userId) {
      kept.delete(userId)
    },
  }
}

const NO_VALUES: ReadonlyMap<string, string | null> = new Map()

function providerValuesOf(secrets: readonly Opened[], agentId: string | undefined): ReadonlyMap<string, string | null> {
  if (secrets.length === 0) return NO_VALUES
  const values = new Map<string, string | null>()
  for (const { key, value, agents } of secrets) {
    if (!PROVIDER_VARIABLES.has(key)) continue
    const given = agents === null || agentId === undefined || agents.includes(agentId)
    values.set(key, given ? value : null)
  }
  return values
}

/** Where a sealed value belongs: opened for another user or under another name it fails. */
const placeOf = (userId: string, name: string) => `secret:${userId}:${name}`

function agentsOf(row: SecretRow): string[] | null {
  const ids: unknown = row.agents === null ? null : JSON.parse(row.agents)
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : null
}

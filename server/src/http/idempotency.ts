import { createHash } from "node:crypto"
import type { Database, Step } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { every } from "../lib/every.ts"
import type { Logger } from "../lib/log.ts"
import { seal, unseal } from "../lib/seal.ts"
import type { Principal } from "./endpoint.ts"

const KEPT_MS = 24 * 3600_000
const LEASE_MS = 30_000
const RENEW_MS = 10_000
const ERASE_EVERY_MS = 600_000
const ERASE_AT_ONCE = 1000
const KEY_FORM = /^[\x21-\x7e]{1,255}$/
const NOT_KEPT = new Set([401, 429])

/** An answer as it was sent. */
export interface KeptAnswer {
  status: number
  headers: Record<string, string | string[]>
  /** Null: no content. */
  body: string | null
}

/** The first request with its key: the caller answers it, then calls `finish` or `release`. */
export interface FirstTime {
  kind: "first"
  bindRun(runId: string): Step
  /** Keeps the answer; a status that is not kept frees the key. */
  finish(answer: KeptAnswer): Promise<void>
  /** Frees the key, unless a run was bound to it. */
  release(): Promise<void>
}
export type Claim = FirstTime | { kind: "replay"; answer: KeptAnswer } | { kind: "run"; runId: string }

export interface IdempotencyRequest {
  principal: Principal
  method: string
  path: string
  key: string
  body: unknown
  /** A repeat may join the run that the first request started. */
  joins: boolean
  /** The account in the path: its deletion removes the answer. */
  userId: string | null
}

export interface IdempotencyStore extends AsyncDisposable {
  /** Throws 400 for a bad key, 409 when the key stands for another body or its first request is under way. */
  claim(request: IdempotencyRequest, signal: AbortSignal): Promise<Claim>
  /** Removes what is older than a day. Runs by itself every ten minutes. */
  erase(): Promise<void>
}

export interface IdempotencyOptions {
  db: Database
  clock: Clock
  log: Logger
  /** 32 bytes: seals the kept answers. */
  sealKey: Uint8Array
  /** This start of this server. */
  bootId: string
}

export function createIdempotency({ db, clock, log, sealKey, bootId }: IdempotencyOptions): IdempotencyStore {
  const underWay = new Set<string>()
  const ownerNow = () => `${bootId} ${clock.now() + LEASE_MS}`
  const mine = `${bootId} %`

  /** Another server on the same PostgreSQL renews its leases; on SQLite there is no other server alive. */
  function isDead(owner: string | null): boolean {
    const [boot, until] = (owner ?? "").split(" ")
    if (boot === bootId) return false
    return db.dialect === "sqlite" || Number(until ?? 0) < clock.now()
  }

  async function renew(): Promise<void> {
    if (underWay.size === 0) return
    const query = db.kysely
      .updateTable("idempotency")
      .set({ owner: ownerNow() })
      .where("id", "in", [...underWay])
    await db.batch([{ query: query.where("owner", "like", mine) }])
  }

  async function erase(): Promise<void> {
    for (;;) {
      const old = db.kysely
        .selectFrom("idempotency")
        .select("id")
        .where("created_at", "<", clock.now() - KEPT_MS)
      const query = db.kysely.deleteFrom("idempotency").where("id", "in", old.limit(ERASE_AT_ONCE)).returning("id")
      const [gone] = await db.batch([{ query }])
      if (gone.length < ERASE_AT_ONCE) return
    }
  }

  const failed = (what: string) => (error: unknown) => log.warn(`${what} failed`, { error })
  const renewing = every(RENEW_MS, renew, failed("renewing idempotency keys"))
  const erasing = every(ERASE_EVERY_MS, erase, failed("erasing idempotency keys"))

  function first(id: string): FirstTime {
    underWay.add(id)
    let runId: string | null = null
    const done = async (steps: Step[]) => {
      await db.batch(steps)
      underWay.delete(id)
    }
    const row = () => db.kysely.updateTable("idempotency").where("id", "=", id).where("owner", "like", mine)
    const release = () =>
      done([
        runId === null
          ? { query: db.kysely.deleteFrom("idempotency").where("id", "=", id).where("owner", "like", mine) }
          : { query: row().set({ owner: null }) },
      ])
    return {
      kind: "first",
      bindRun(run) {
        runId = run
        return { query: row().set({ run_id: run }) }
      },
      async finish(answer) {
        if (NOT_KEPT.has(answer.status) || answer.status >= 500) return await release()
        const sealed = seal(sealKey, JSON.stringify(answer), id)
        await done([{ query: row().set({ status: answer.status, sealed, owner: null }) }])
      },
      release,
    }
  }

  async function tryClaim(request: IdempotencyRequest): Promise<Claim | "under way"> {
    const id = idOf(request)
    const bodyHash = sha256(JSON.stringify(request.body) ?? "")
    const now = clock.now()
    const fresh = { body_hash: bodyHash, owner: ownerNow(), status: null, sealed: null, run_id: null, created_at: now }
    const userId = request.principal.userId ?? request.userId
    const [inserted] = await db.batch([
      {
        query: db.kysely
          .insertInto("idempotency")
          .values({ id, user_id: userId, ...fresh })
          .onConflict((conflict) => conflict.column("id").doNothing())
          .returning("id"),
      },
    ])
    if (inserted.length > 0) return first(id)

    // From the writing side: the row may be younger than the reading side's view.
    const row = await db.kysely.selectFrom("idempotency").selectAll().where("id", "=", id).executeTakeFirst()
    if (row === undefined) return "under way"
    const crashed = row.status === null && row.run_id === null && isDead(row.owner)
    if (crashed || row.created_at < now - KEPT_MS) {
      const taken = db.kysely.updateTable("idempotency").set(fresh).where("id", "=", id).returning("id")
      const same = row.owner === null ? taken.where("owner", "is", null) : taken.where("owner", "=", row.owner)
      const [won] = await db.batch([{ query: same.where("created_at", "=", row.created_at) }])
      return won.length > 0 ? first(id) : "under way"
    }
    if (row.body_hash !== bodyHash)
      throw new AppError("conflict", "this Idempotency-Key was used with another request body")
    if (row.status !== null && row.sealed !== null)
      return { kind: "replay", answer: JSON.parse(unseal(sealKey, row.sealed, id).toString()) as KeptAnswer }
    if (request.joins && row.run_id !== null) return { kind: "run", runId: row.run_id }
    if (!request.joins && row.run_id !== null && isDead(row.owner)) {
      // The server died while the run was answering: the run has ended with it, so the key is free.
      const query = db.kysely.deleteFrom("idempotency").where("id", "=", id).where("created_at", "=", row.created_at)
      await db.batch([{ query }])
      return await tryClaim(request)
    }
    return "under way"
  }

  return {
    async claim(request, signal) {
      if (!KEY_FORM.test(request.key))
        throw new AppError("invalid_request", "Idempotency-Key must be 1 to 255 visible ASCII characters")
      // A stream's first request binds its run within moments; a repeat that comes in between waits for it.
      for (let tries = 0; ; tries++) {
        const claim = await tryClaim(request)
        if (claim !== "under way") return claim
        if (!request.joins || tries >= 40 || signal.aborted)
          throw new AppError("conflict", "the first request with this Idempotency-Key is still under way")
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    erase,
    async [Symbol.asyncDispose]() {
      await renewing[Symbol.asyncDispose]()
      await erasing[Symbol.asyncDispose]()
    },
  }
}

function idOf({ principal, method, path, key }: IdempotencyRequest): string {
  const caller = [principal.kind, principal.userId, principal.agentId, principal.impersonatedBy]
  return sha256(JSON.stringify([...caller, method, path, key]))
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")

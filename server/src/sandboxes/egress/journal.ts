import { messageOf } from "../../lib/errors.ts"
import type { Logger } from "../../lib/log.ts"
import type { SandboxSpec } from "../driver.ts"

/** Whose sandbox it is. */
export type EgressOwner = Pick<SandboxSpec, "id" | "userId">

/** What went to one destination since the last report. */
export interface EgressRecord {
  /** As the sandbox asked for it: `example.com:443`. */
  destination: string
  /** The judged address that was connected to; null when it was refused, or for several destinations in one. */
  address: string | null
  /** Opened. */
  connections: number
  /** Refused, and why the last one was. */
  refused: number
  reason: string | null
  /** Sent from the sandbox, and to it. */
  bytesOut: number
  bytesIn: number
}

export interface EgressCounts {
  connections: number
  refused: number
  bytesOut: number
  bytesIn: number
}

export type EgressReport = (owner: EgressOwner, records: EgressRecord[]) => Promise<void>

/** Sums up by sandbox and destination, and reports once a second: a flood of connections is no flood of reports. */
export interface EgressJournal extends AsyncDisposable {
  connected(owner: EgressOwner, destination: string, address: string): void
  refused(owner: EgressOwner, destination: string, reason: string): void
  moved(owner: EgressOwner, destination: string, address: string, bytes: { out: number; in: number }): void
  /** Since the start. */
  counts(): EgressCounts
  /** Of one sandbox: how often it was refused so far, and the last of these in words. */
  refusals(id: string): Refusals
}

export interface Refusals {
  count: number
  last: readonly string[]
}

const EVERY_MS = 1000
/** Of one sandbox in one report; what goes further is one record together. */
const MAX_DESTINATIONS = 30
const LAST_REFUSALS = 3
/** Sandboxes of which the last refusals are known; those refused longest ago are forgotten. */
const MAX_REFUSED = 1000
const OTHERS = "(other destinations)"

export function createEgressJournal(report: EgressReport, log: Logger): EgressJournal {
  const totals: EgressCounts = { connections: 0, refused: 0, bytesOut: 0, bytesIn: 0 }
  let waiting = new Map<string, { owner: EgressOwner; records: Map<string, EgressRecord> }>()
  const refusals = new Map<string, Refusals>()
  let timer: NodeJS.Timeout | null = null
  let reporting: Promise<unknown> = Promise.resolve()

  function recordOf(owner: EgressOwner, wanted: string, address: string | null): EgressRecord {
    const of = waiting.get(owner.id) ?? { owner, records: new Map() }
    waiting.set(owner.id, of)
    timer ??= setTimeout(flush, EVERY_MS)
    const key = `${wanted} ${address ?? ""}`
    const full = of.records.size >= MAX_DESTINATIONS && !of.records.has(key)
    const destination = full ? OTHERS : wanted
    const known = of.records.get(full ? OTHERS : key)
    if (known !== undefined) return known
    const numbers = { connections: 0, refused: 0, bytesOut: 0, bytesIn: 0 }
    const record = { destination, address: full ? null : address, reason: null, ...numbers }
    of.records.set(full ? OTHERS : key, record)
    return record
  }

  function flush(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    const all = [...waiting.values()]
    waiting = new Map()
    // One after the other, so that lines keep their order.
    reporting = reporting
      .then(() => Promise.all(all.map(({ owner, records }) => report(owner, [...records.values()]))))
      .catch((error) => log.error("connections of sandboxes could not be logged", { error: messageOf(error) }))
  }

  return {
    connected(owner, destination, address) {
      totals.connections++
      recordOf(owner, destination, address).connections++
    },
    refused(owner, destination, reason) {
      totals.refused++
      const record = recordOf(owner, destination, null)
      record.refused++
      record.reason = reason
      const { count, last } = refusals.get(owner.id) ?? { count: 0, last: [] }
      refusals.delete(owner.id)
      refusals.set(owner.id, { count: count + 1, last: [...last, `${destination}: ${reason}`].slice(-LAST_REFUSALS) })
      if (refusals.size > MAX_REFUSED) refusals.delete(refusals.keys().next().value ?? "")
    },
    moved(owner, destination, address, bytes) {
      totals.bytesOut += bytes.out
      totals.bytesIn += bytes.in
      const record = recordOf(owner, destination, address)
      record.bytesOut += bytes.out
      record.bytesIn += bytes.in
    },
    counts: () => ({ ...totals }),
    refusals: (id) => refusals.get(id) ?? { count: 0, last: [] },
    async [Symbol.asyncDispose]() {
      flush()
      await reporting
    },
  }
}

import type { Origin } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import type { Edit, Keeper } from "./keeper.ts"
import type { Pin, Registry, Verdict } from "./registry.ts"
import type { SkillRow, SkillStore } from "./store.ts"

export interface RecheckResult {
  checked: number
  quarantined: number
  released: number
}

/** As many as the registry judges at once. */
const AT_ONCE = 100

/** Asks the registry again about everything that is installed: what has since been judged malicious is put away. */
export function createRecheck(options: { registry: Registry; store: SkillStore; keeper: Keeper; clock: Clock }) {
  const { registry, store, keeper, clock } = options
  return async (signal: AbortSignal): Promise<RecheckResult> => {
    const result = { checked: 0, quarantined: 0, released: 0 }
    for (let after = ""; ; ) {
      const rows = await store.installed(after, AT_ONCE)
      const last = rows.at(-1)
      if (last === undefined) return result
      after = last.id
      const pins = rows.map(pinOf)
      const verdicts = await registry.verdicts(pins, registry.deadline(signal))
      for (const [index, row] of rows.entries()) {
        const verdict = verdicts[index]
        if (verdict === undefined || verdict.status === "unknown") continue
        await keeper.amend(row.userId, row.slug, judge(row, verdict, result), PLATFORM)
        result.checked++
      }
    }
  }

  /** Looks at the row as it is by then: it may have been updated since the registry was asked. */
  function judge(asked: SkillRow, verdict: Verdict, result: RecheckResult): Edit {
    return (row) => {
      const { provenance, bundle } = row.info
      if (provenance === null || bundle !== asked.info.bundle) return null
      const now = clock.now()
      const bad = verdict.status === "malicious"
      const was = row.info.quarantine !== null
      // A version that the registry no longer shows says nothing new: what is put away stays so, and the rest too.
      const put = bad || (was && verdict.status === "not_found")
      if (put && !was) result.quarantined++
      if (was && !put) result.released++
      const because = verdict.reasons.length > 0 ? ` (${verdict.reasons.join(", ")})` : ""
      const quarantine = put ? (row.info.quarantine ?? `the registry has since judged it malicious${because}`) : null
      const target = `skill ${provenance.owner}/${row.slug}@${provenance.version}`
      return {
        info: {
          ...row.info,
          quarantine,
          provenance: { ...provenance, verdict: verdict.status, reasons: verdict.reasons, checkedAt: now },
        },
        change: put === was ? null : { action: put ? "skills.quarantine" : "skills.release", target },
      }
    }
  }
}

const PLATFORM: Origin = { actor: "platform", ip: null, requestId: "skills.recheck" }

function pinOf({ slug, info }: SkillRow): Pin {
  return { slug, owner: info.provenance?.owner ?? "", version: info.provenance?.version ?? "" }
}

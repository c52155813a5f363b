import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { createGate } from "../lib/gate.ts"
import type { Registry } from "./registry.ts"

/** Which version of a publisher's skill is the newest, as far as the registry tells in time. */
export interface LatestVersions {
  /** By `owner/slug`; what could not be learned is missing. Never throws. */
  of(skills: readonly { owner: string; slug: string }[], signal: AbortSignal): Promise<ReadonlyMap<string, string>>
}

const BUDGET_MS = 3000
const AT_ONCE = 8
/** A list is asked for again and again; the registry is asked for a skill this seldom, per skill in the list. */
const FRESH_MS_A_SKILL = 300
const FRESH_MS = 1000
/** A registry that did not answer is left alone for so long. */
const REST_MS = 30_000
const MAX_KEPT = 5000

export const latestKey = ({ owner, slug }: { owner: string; slug: string }): string => `${owner}/${slug}`

/** What one user's list learned serves the others: it is public. */
export function createLatestVersions(registry: Registry, clock: Clock): LatestVersions {
  const kept = new Map<string, { version: string | null; at: number }>()
  const gate = createGate(AT_ONCE)
  let restUntil = 0

  const ask = async (skill: { owner: string; slug: string }, signal: AbortSignal, deadline: AbortSignal) => {
    try {
      if (clock.now() < restUntil) return
      const { latest } = await registry.detail(skill.slug, skill.owner, deadline)
      if (kept.size >= MAX_KEPT) kept.clear()
      kept.set(latestKey(skill), { version: latest, at: clock.now() })
    } catch (error) {
      // Whoever asked is gone: that says nothing of the registry.
      if (signal.aborted) return
      // Gone, renamed or malware: nothing newer to offer. Anything else says that the registry is not well.
      if (error instanceof AppError && error.code !== "failed_dependency")
        kept.set(latestKey(skill), { version: null, at: clock.now() })
      else restUntil = clock.now() + REST_MS
    }
  }

  return {
    async of(skills, signal) {
      const freshFor = Math.max(FRESH_MS, skills.length * FRESH_MS_A_SKILL)
      const stale = skills.filter((skill) => {
        const known = kept.get(latestKey(skill))
        return known === undefined || clock.now() - known.at >= freshFor
      })
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(BUDGET_MS)])
      await Promise.all(stale.map((skill) => gate(() => ask(skill, signal, deadline))))
      const found = new Map<string, string>()
      for (const skill of skills) {
        const version = kept.get(latestKey(skill))?.version
        if (version != null) found.set(latestKey(skill), version)
      }
      return found
    },
  }
}

import { createRedactor, type Redactor } from "../lib/redact.ts"
import type { Secrets } from "./secrets.ts"

const KEPT = 500

/** One redactor for as long as a user's secrets stay as they are: its tables take a while to build. */
export function createRedactors(secrets: Pick<Secrets, "maskValues">): (userId: string) => Promise<Redactor> {
  const kept = new Map<string, { values: string; redactor: Redactor }>()
  return async (userId) => {
    const now = await secrets.maskValues(userId)
    const values = JSON.stringify(now)
    const known = kept.get(userId)
    if (known?.values === values) return known.redactor
    const redactor = createRedactor(now)
    if (kept.size >= KEPT) kept.delete(kept.keys().next().value ?? "")
    kept.set(userId, { values, redactor })
    return redactor
  }
}

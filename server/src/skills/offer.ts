import { PROVIDER_VARIABLES } from "../runtime/providers.ts"
import type { SkillHeader } from "./frontmatter.ts"
import type { StoredSkill } from "./stored.ts"

/** What the user's sandboxes have. */
export interface Surroundings {
  secrets: ReadonlySet<string>
  binaries: ReadonlySet<string>
}

export interface Offer {
  state: "active" | "incomplete" | "quarantined"
  missing: string[]
  reason: string | null
  /** Whether the model is told of it. */
  listed: boolean
}

/** Sandboxes are Linux, whatever the server runs on. */
const SANDBOX_OS = "linux"

/** Is a skill offered, and if not, why? In the order that OpenClaw asks: system, always, environment, programs. */
export function offer(
  skill: { header: Omit<SkillHeader, "install">; quarantine: StoredSkill["quarantine"] },
  { secrets, binaries }: Surroundings,
): Offer {
  const { header } = skill
  const missing = missingOf(header, secrets, binaries)
  if (skill.quarantine !== null) return { state: "quarantined", missing, reason: skill.quarantine, listed: false }
  if (missing.length > 0)
    return { state: "incomplete", missing, reason: `it needs ${missing.map(inWords).join(", ")}`, listed: false }
  const reason = header.disableModelInvocation ? "it asks not to be offered to the model" : null
  return { state: "active", missing, reason, listed: !header.disableModelInvocation }
}

function missingOf(
  { os, always, requires }: Pick<SkillHeader, "os" | "always" | "requires">,
  secrets: ReadonlySet<string>,
  binaries: ReadonlySet<string>,
): string[] {
  if (os.length > 0 && !os.includes(SANDBOX_OS)) return [`os:${os.join("|")}`]
  if (always) return []
  const anyOf = requires.anyBins.length > 0 && !requires.anyBins.some((name) => binaries.has(name))
  return [
    // Secrets are kept in upper case.
    ...requires.env.filter((name) => !secrets.has(name.toUpperCase())),
    // Settings of another platform: nothing here could answer them.
    ...requires.config.map((path) => `config:${path}`),
    ...requires.bins.filter((name) => !binaries.has(name)),
    ...(anyOf ? [requires.anyBins.join("|")] : []),
  ]
}

function inWords(missing: string): string {
  if (missing.startsWith("os:")) return `another system (${missing.slice(3).split("|").join(" or ")})`
  if (missing.startsWith("config:")) return `the setting ${missing.slice(7)}, which this platform does not have`
  if (missing.includes("|")) return `one of the programs ${missing.split("|").join(", ")}`
  if (PROVIDER_VARIABLES.has(missing)) return `the secret ${missing}, which is never given to a sandbox`
  return /^[A-Z_][A-Z0-9_]*$/.test(missing) ? `the secret ${missing}` : `the program ${missing}`
}

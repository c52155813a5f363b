import { createHash } from "node:crypto"
import { z } from "zod"

const Words = z.array(z.string())

/** What the frontmatter said, as `frontmatter.ts` reads it. */
const Header = z.object({
  name: z.string(),
  description: z.string(),
  license: z.string().nullable(),
  compatibility: z.string().nullable(),
  homepage: z.string().nullable(),
  allowedTools: Words,
  userInvocable: z.boolean(),
  disableModelInvocation: z.boolean(),
  always: z.boolean(),
  emoji: z.string().nullable(),
  primaryEnv: z.string().nullable(),
  os: Words,
  requires: z.object({ bins: Words, anyBins: Words, env: Words, config: Words }),
})

/** Where an installed skill came from, and what the registry held of it when it was last asked. */
const Provenance = z.object({
  registry: z.string(),
  owner: z.string(),
  version: z.string(),
  /** `clean`, `suspicious`, `malicious`, `pending`, `error`, `unknown`. */
  verdict: z.string(),
  reasons: Words,
  /** When the registry was asked, by our clock. */
  checkedAt: z.number(),
  riskAccepted: z.boolean(),
  latestVersion: z.string().nullable(),
})
export type Provenance = z.infer<typeof Provenance>

/** The JSON of a skill's row. */
export const StoredSkill = z.object({
  v: z.literal(1),
  /** Names the bundle's folder; a new one for each version. */
  bundle: z.string(),
  header: Header,
  sha256: z.string(),
  installedAt: z.number(),
  /** Null for an upload. */
  provenance: Provenance.nullable(),
  /** Why no agent may see it any more; null when it may. */
  quarantine: z.string().nullable(),
})
export type StoredSkill = z.infer<typeof StoredSkill>

/** The JSON of a skill's files. */
export const StoredFiles = z.array(z.object({ path: z.string(), sizeBytes: z.number(), sha256: z.string() }))
export type FileDigest = z.infer<typeof StoredFiles>[number]

/** One hash of a whole bundle, made as the registry and its client make theirs, so that they can be compared. */
export function fingerprint(files: readonly Pick<FileDigest, "path" | "sha256">[]): string {
  const lines = [...files]
    .sort((a, b) => a.path.localeCompare(b.path, "en"))
    .map((file) => `${file.path}:${file.sha256}`)
  return createHash("sha256").update(lines.join("\n")).digest("hex")
}

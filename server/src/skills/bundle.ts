import { createHash } from "node:crypto"
import { open, readFile } from "node:fs/promises"
import { AppError } from "../lib/errors.ts"
import { createGate } from "../lib/gate.ts"
import { type BundleFile, refused, unzip } from "./archive.ts"
import type { Staging } from "./folder.ts"
import { parseSkillMd, type SkillHeader } from "./frontmatter.ts"
import type { TellStage } from "./progress.ts"
import { type FileDigest, fingerprint } from "./stored.ts"

/** A bundle that passed every check and lies, durable, in its staging folder. */
export interface Bundle {
  header: SkillHeader
  files: FileDigest[]
  sha256: string
  sizeBytes: number
}

const SKILL_MD = "SKILL.md"
/** An archive and what it unpacks to are in memory at once: 20 MiB at most each. */
const unpacking = createGate(2)

/** Writes a body to the staging folder while it comes. Throws 413 as soon as it is over the limit. */
export async function receive(
  body: AsyncIterable<Uint8Array>,
  staging: Staging,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(staging.body, "wx", 0o600)
  try {
    let size = 0
    for await (const chunk of body) {
      signal.throwIfAborted()
      size += chunk.length
      if (size > maxBytes) throw new AppError("too_large", `a skill may be up to ${maxBytes / 1024 / 1024} MiB`)
      await file.write(chunk)
    }
  } finally {
    await file.close()
  }
}

/** The body as a lone SKILL.md. */
export async function fromSkillMd(staging: Staging, tell: TellStage): Promise<Bundle> {
  tell("checking")
  const bundle = gather(staging)
  await bundle.add({ path: SKILL_MD, data: await readFile(staging.body), executable: false })
  return bundle.finish()
}

/** The body as a zip with SKILL.md at its root or in its one folder. */
export async function fromZip(staging: Staging, signal: AbortSignal, tell: TellStage): Promise<Bundle> {
  return unpacking(async () => {
    const files: BundleFile[] = []
    for await (const file of unpacked(staging, signal, tell)) if (!isLitter(file.path)) files.push(file)
    const bundle = gather(staging)
    for (const file of strip(files)) await bundle.add(file)
    return bundle.finish()
  })
}

/**
 * The body as a registry's zip, which must hold exactly the files of `published`, byte for byte. The registry adds one
 * of its own, `_meta.json`, which is not kept.
 */
export async function fromRegistryZip(
  staging: Staging,
  published: readonly FileDigest[],
  signal: AbortSignal,
  tell: TellStage,
): Promise<Bundle> {
  return unpacking(async () => {
    const missing = new Map(published.map((file) => [file.path, file]))
    const bundle = gather(staging)
    for await (const file of unpacked(staging, signal, tell)) {
      const expected = missing.get(file.path)
      if (expected === undefined && file.path === "_meta.json") continue
      if (expected === undefined) throw refused(`it holds ${file.path}, which the registry did not publish`)
      // Written while the next one is inflated; what does not match goes with the whole staging folder.
      const { sha256 } = await bundle.add(file)
      if (sha256 !== expected.sha256) throw refused(`${file.path} does not have the hash that the registry published`)
      missing.delete(file.path)
    }
    const [absent] = missing.keys()
    if (absent !== undefined) throw refused(`it lacks ${absent}, which the registry published`)
    return bundle.finish()
  })
}

/** The archive's files; the first comes once the archive was checked as a whole. */
async function* unpacked(staging: Staging, signal: AbortSignal, tell: TellStage): AsyncGenerator<BundleFile> {
  tell("checking")
  let begun = false
  for await (const file of unzip(await readFile(staging.body), signal)) {
    if (!begun) tell("unpacking")
    begun = true
    yield file
  }
}

/** Takes a bundle's files one by one, on their way to the disk. */
function gather(staging: Staging) {
  const files: FileDigest[] = []
  let header: SkillHeader | null = null
  return {
    async add(file: BundleFile): Promise<FileDigest> {
      const { path, data } = file
      if (path === SKILL_MD) header = parseSkillMd(data)
      const digest = { path, sizeBytes: data.length, sha256: createHash("sha256").update(data).digest("hex") }
      files.push(digest)
      await staging.write(file)
      return digest
    },
    /** When everything is durable. */
    async finish(): Promise<Bundle> {
      if (header === null) throw refused(`it has no ${SKILL_MD} at its root or in its one folder`)
      await staging.flush()
      files.sort((a, b) => (a.path < b.path ? -1 : 1))
      const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
      return { header, files, sha256: fingerprint(files), sizeBytes }
    },
  }
}

/** What desktop systems put into archives without being asked. */
const isLitter = (path: string) => path.startsWith("__MACOSX/") || /(?:^|\/)(?:\.DS_Store|Thumbs\.db)$/.test(path)

/** Takes away the one folder that everything is in. */
function strip(files: BundleFile[]): BundleFile[] {
  if (files.some((file) => file.path === SKILL_MD)) return files
  const folder = files[0]?.path.split("/", 1)[0]
  if (folder === undefined || !files.every((file) => file.path.startsWith(`${folder}/`))) return files
  return files.map((file) => ({ ...file, path: file.path.slice(folder.length + 1) }))
}

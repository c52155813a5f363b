import { constants } from "node:fs"
import { access, readdir } from "node:fs/promises"
import { join } from "node:path"
import type { Clock } from "../lib/clock.ts"

/** The folders of a bubblewrap sandbox's PATH that are the host's own. */
const FOLDERS = ["/usr/bin", "/bin"]
const KEPT_MS = 60_000

/**
 * The programs that commands find in a sandbox which shows the host's `/usr` and brings its own Node. Looked up again
 * after a minute, so that a program which the operator adds counts without a restart.
 */
export function hostBinaries(clock: Clock): () => Promise<ReadonlySet<string>> {
  let kept: Promise<ReadonlySet<string>> | null = null
  let lookedAt = 0
  return () => {
    const now = clock.now()
    if (kept !== null && now - lookedAt < KEPT_MS) return kept
    lookedAt = now
    const before = kept
    const looking = look()
    kept ??= looking
    // Nobody waits for a second look: what was found before serves until it is done.
    if (before !== null) {
      void looking.then(() => {
        kept = looking
      })
    }
    return kept
  }
}

async function look(): Promise<ReadonlySet<string>> {
  const found = new Set(["node"])
  for (const folder of FOLDERS) {
    const names = await readdir(folder).catch((): string[] => [])
    await Promise.all(
      names.map(async (name) => {
        if (await isExecutable(join(folder, name))) found.add(name)
      }),
    )
  }
  return found
}

const isExecutable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )

import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createFile } from "../lib/durable-file.ts"
import { newId } from "../lib/ids.ts"

/** The same at each start on one data folder, and another on every other: whose runs a restart may end. */
export function serverId(dataDir: string): string {
  const file = join(dataDir, "server.id")
  try {
    const known = readFileSync(file, "utf8").trim()
    if (/^srv_[0-9a-z]+$/.test(known)) return known
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
  }
  const made = newId("srv")
  createFile(file, `${made}\n`)
  return made
}

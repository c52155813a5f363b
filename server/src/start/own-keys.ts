import { randomBytes } from "node:crypto"
import { chmodSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Secrets } from "../config.ts"
import { newKey } from "../keys/format.ts"
import { createFile } from "../lib/durable-file.ts"
import { StartError } from "../lib/start-error.ts"

export interface OwnKeys {
  adminKey: string
  masterKey: Uint8Array
  /** Where the operator finds the admin key, in words. */
  adminKeyPlace: string
  /** The admin key was made just now: say it, once. */
  isNew: boolean
}

const MASTER_KEY_BYTES = 32

/** The platform's own two keys: from the environment, else from the data folder, else made there now. */
export function ownKeys(folder: string, secrets: Pick<Secrets, "adminKey" | "masterKey">): OwnKeys {
  const masterFile = join(folder, "master.key")
  const kept = readKey(masterFile)
  if (secrets.masterKey !== null && kept !== null && !decode(kept, masterFile).equals(secrets.masterKey)) {
    throw new StartError(
      `AUTONOMIS_MASTER_KEY is not the key in ${masterFile}, which the stored secrets are sealed with.`,
    )
  }
  const masterKey = secrets.masterKey ?? decode(kept ?? make(masterFile, newMasterKey), masterFile)
  if (secrets.adminKey !== null) {
    return { adminKey: secrets.adminKey, masterKey, adminKeyPlace: "AUTONOMIS_ADMIN_KEY", isNew: false }
  }
  const adminFile = join(folder, "admin.key")
  const known = readKey(adminFile)
  const adminKey = known ?? make(adminFile, () => newKey("admin"))
  return { adminKey, masterKey, adminKeyPlace: adminFile, isNew: known === null }
}

const newMasterKey = () => randomBytes(MASTER_KEY_BYTES).toString("base64")

function decode(text: string, file: string): Buffer {
  const bytes = Buffer.from(text, "base64")
  if (bytes.length === MASTER_KEY_BYTES) return bytes
  throw new StartError(`${file} does not hold a master key (${MASTER_KEY_BYTES} bytes in base64).`)
}

function readKey(file: string): string | null {
  try {
    const key = readFileSync(file, "utf8").trim()
    chmodSync(file, 0o600)
    if (key !== "") return key
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null
    throw new StartError(`${file} cannot be read (${error instanceof Error ? error.message : error}).`)
  }
  throw new StartError(`${file} is empty; put the key back, or remove the file to have a new one made.`)
}

function make(file: string, key: () => string): string {
  const made = key()
  createFile(file, `${made}\n`)
  return made
}

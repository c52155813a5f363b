import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"

export type Pi = typeof import("./entry.ts")

const entry = new URL("./entry.ts", import.meta.url)

/** Where `npm ci` puts the bundle of `entry.ts`; its name changes with that file, so that an old one is never taken. */
export function bundlePath(): URL {
  const version = createHash("sha256").update(readFileSync(entry)).digest("hex").slice(0, 12)
  return new URL(`../../../dist/pi/${version}/entry.js`, import.meta.url)
}

let loading: Promise<Pi> | null = null

export function loadPi(): Promise<Pi> {
  if (loading === null) {
    const bundle = bundlePath()
    loading = existsSync(bundle) ? import(bundle.href) : import("./entry.ts")
  }
  return loading
}

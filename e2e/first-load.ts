import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { ROOT } from "../test/server.ts"

const DIST = join(ROOT, "dashboard/dist")

/** Every script that the page names itself, before anything is loaded because it is needed. */
export async function firstLoadKb(): Promise<number> {
  const html = await readFile(join(DIST, "index.html"), "utf8")
  const files = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+\.js)"/g)].map(([, path = ""]) => join(DIST, path))
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(file), { level: 9 }).length))
  return Math.round(sizes.reduce((sum, size) => sum + size, 0) / 102.4) / 10
}

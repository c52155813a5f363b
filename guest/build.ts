import { fileURLToPath } from "node:url"
import { build } from "rolldown"

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** Bundles the program that runs inside sandboxes into one file, which drivers show there read-only. */
export async function buildGuest(): Promise<void> {
  await build({
    input: here("src/main.ts"),
    platform: "node",
    output: { file: here("dist/guest.mjs"), format: "esm", minify: true },
    logLevel: "warn",
  })
}

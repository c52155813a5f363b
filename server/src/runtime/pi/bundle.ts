import { rm } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { build } from "rolldown"
import { bundlePath } from "./load.ts"

/** Bundles the agent library for the workers; part of `npm run prepare`. */
export async function bundlePi(): Promise<void> {
  const dir = fileURLToPath(new URL(".", bundlePath()))
  await rm(new URL("..", bundlePath()), { recursive: true, force: true })
  await build({
    input: { entry: fileURLToPath(new URL("./entry.ts", import.meta.url)) },
    platform: "node",
    output: { dir, format: "esm", minify: true, chunkFileNames: "[name]-[hash].js" },
    logLevel: "warn",
  })
}

if (import.meta.main) await bundlePi()

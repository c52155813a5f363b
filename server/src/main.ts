import { enableCompileCache } from "node:module"
import { fileURLToPath } from "node:url"

// Before anything else is loaded: what was compiled once is read the next time.
enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/autonomis", import.meta.url)))
const { run } = await import("./start/run.ts")
await run()

import { spawn } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { dockerObstacle, SHARED_DOCKER, startDocker } from "../test/docker.ts"
import { SHARED_POSTGRES, startPostgres } from "../test/postgres.ts"
import { provideNeeds } from "./needs.ts"

// npm test [-- --long] [-- files or folders]: every test of every workspace, with one PostgreSQL and one Docker daemon for all of them.
const args = process.argv.slice(2)
const long = args.includes("--long")
const chosen = args.filter((arg) => arg !== "--long")
/** A test that hangs fails by itself, long before the whole run is given up. */
const TEST_TIMEOUT_MS = long ? 1_800_000 : 300_000

provideNeeds()
await using postgres = await startPostgres()

const patterns = (chosen.length > 0 ? chosen : ["**"]).map((path) =>
  path.endsWith(".ts") ? path : `${path.replace(/\/$/, "")}/*.test.ts`.replace(/(?<!\*\*)\/\*\.test/, "/**/*.test"),
)
const files = globSync(patterns, { exclude: (name) => name === "node_modules" || name === "dist" || name === "data" })
if (files.length === 0) {
  console.error(`no tests in ${chosen.join(", ")}`)
  process.exit(1)
}
// Its image takes a while when it is not kept from an earlier run: tests that need it wait, the others begin.
const forDocker = files.filter((file) => readFileSync(file, "utf8").includes("test/docker.ts"))
const obstacle = forDocker.length > 0 ? dockerObstacle() : null
const notShown = `what needs a Docker daemon (${forDocker.join(", ")}): ${obstacle}.`
if (obstacle !== null) console.error(`NOT SHOWN: ${notShown}`)
await using docker = forDocker.length > 0 && obstacle === null ? startDocker() : null
const child = spawn(
  process.execPath,
  ["--test", `--test-concurrency=${availableParallelism() + 1}`, `--test-timeout=${TEST_TIMEOUT_MS}`, ...files.sort()],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      [SHARED_POSTGRES]: postgres.url,
      ...(docker === null ? {} : { [SHARED_DOCKER]: `${docker.pid}:${docker.socket}` }),
      ...(long ? { TEST_LONG: "1" } : {}),
    },
  },
)
// The terminal's Ctrl-C reaches the child by itself; we stay to stop the database.
process.on("SIGINT", () => {})
process.on("SIGTERM", () => child.kill("SIGTERM"))
process.exitCode = await new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)))
if (obstacle !== null) console.error(`NOT SHOWN: ${notShown}`)

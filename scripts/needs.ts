import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import { dockerObstacle } from "../test/docker.ts"
import { postgresBin } from "../test/postgres.ts"

interface Need {
  /** Debian's package. */
  package: string
  present(): boolean
}

const inPath = (program: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)))

const NEEDS: readonly Need[] = [
  { package: "bubblewrap", present: () => inPath("bwrap") },
  { package: "postgresql", present: () => postgresBin() !== null },
  { package: "chromium", present: () => inPath("chromium") },
  { package: "curl", present: () => inPath("curl") },
  { package: "docker.io", present: () => inPath("dockerd") || dockerObstacle() !== null },
]

/**
 * What the tests need beside npm's packages is there when this returns: installed from Debian by root, else asked for.
 * Nothing is ever left out of a run in silence.
 */
export function provideNeeds(): void {
  const missing = NEEDS.filter((need) => !need.present()).map((need) => need.package)
  if (missing.length === 0) return
  const command = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(" ")}`
  const may = process.getuid?.() === 0 && inPath("apt-get")
  if (!may) stop(`The tests need ${missing.join(", ")}. Run this first, then again:\n  sudo sh -c '${command}'`)
  console.log(`Installing ${missing.join(", ")} from Debian, which the tests need …`)
  const { status } = spawnSync("sh", ["-c", command], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  })
  const still = NEEDS.filter((need) => !need.present()).map((need) => need.package)
  if (status !== 0 || still.length > 0) stop(`${still.join(", ")} could not be installed: run  ${command}`)
}

function stop(message: string): never {
  console.error(message)
  process.exit(1)
}

import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"

const INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap"

export interface ProvideOptions {
  isMissing(): boolean
  /** Lines for the operator. */
  say(line: string): void
  signal: AbortSignal
  env: Record<string, string | undefined>
  isRoot: boolean
}

/** Installs bubblewrap where that is ours to do (root on Debian); else one line tells how. Says what it does. */
export async function provideBubblewrap({ isMissing, say, signal, env, isRoot }: ProvideOptions): Promise<void> {
  if (!isMissing()) return
  const without = "until then agents chat but cannot use tools"
  const hasApt = inPath("apt-get", env)
  if (!isRoot || !hasApt) {
    const how = hasApt ? "sudo apt-get install bubblewrap" : "your system's packages (it is called bubblewrap)"
    say(`bubblewrap, the sandbox of the agents' tools, is not installed; ${without}. Install it with: ${how}`)
    return
  }
  say(`bubblewrap, the sandbox of the agents' tools, is not installed; installing it from Debian (${without})`)
  const problem = await runInstall(env, signal)
  if (signal.aborted) return
  if (problem === null && !isMissing()) say("bubblewrap is installed; agents can use tools")
  else say(`bubblewrap could not be installed (${problem ?? "it is still missing"}); run: ${INSTALL}`)
}

function inPath(program: string, env: ProvideOptions["env"]): boolean {
  return (env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, program)))
}

/** Null when it went well; else the last thing that it said. */
function runInstall(env: ProvideOptions["env"], signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn("sh", ["-c", INSTALL], {
      env: { ...env, DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "ignore", "pipe"],
      signal,
    })
    let said = ""
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000)
    })
    child.once("error", (error) => resolve(error.message))
    child.once("close", (code) => resolve(code === 0 ? null : (said.trim().split("\n").at(-1) ?? `exit code ${code}`)))
  })
}

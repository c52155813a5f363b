import { once } from "node:events"
import { chmod, mkdir, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:net"
import { join } from "node:path"
import { silentLogger } from "../lib/log.ts"
import type { SandboxDriver } from "./driver.ts"
import { createBubblewrapDriver, type Weakened } from "./drivers/bubblewrap/bubblewrap.ts"
import { inOwnNetwork } from "./egress/own-network.ts"
import { type Boundary, ESCAPES, type Escape } from "./escapes.ts"
import { connectGuest } from "./guest-client.ts"
import { run, specOf, temporaryFolder } from "./testing.ts"

const HOST_FOLDER = "@host"

interface Ground {
  driver: SandboxDriver
  /** In a fresh sandbox, so that none helps or hinders the next. */
  attempt(way: Escape): Promise<string>
  /** In one sandbox for all of that boundary, one after the other: for ways that leave nothing behind. */
  attemptTogether(way: Escape): Promise<string>
}

/** For the escape tests: a host with things worth stealing, and a sandbox in it. */
export async function onGround(
  makeDriver: (dataDir: string) => SandboxDriver,
  use: (tools: Ground) => Promise<void>,
): Promise<void> {
  await using folder = await temporaryFolder()
  // The best case for the attacker: what can be read by everybody, anywhere on the host.
  await chmod(folder.path, 0o755)
  for (const name of ["canary", "master.key"]) await writeFile(join(folder.path, name), "CANARY", { mode: 0o644 })
  await mkdir(join(folder.path, "users/usr_other/agents/agt_other/workspace"), { recursive: true })
  const servers = [await listen({ port: 0, host: "::" })]
  const address = servers[0]?.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  // The played metadata service and private network; there is nothing of the kind outside the test's own network.
  if (inOwnNetwork) servers.push(await listen({ port: 80, host: "0.0.0.0" }))
  servers.push(await listen({ path: join(folder.path, "sock") }), await listen({ path: `\0autonomis-canary-${port}` }))
  await chmod(join(folder.path, "sock"), 0o777)
  await using driver = makeDriver(folder.path)
  const env = { HOST: folder.path, PORT: String(port), HOSTPID: String(process.pid) }
  const exports = Object.entries(env).map(([name, value]) => `export ${name}='${value}'`)
  const open = async () => {
    const spec = specOf({ limits: { memoryBytes: 256 * 1024 * 1024, cpus: 1, pids: 100, storageBytes: null } })
    const client = await connectGuest(await driver.open(spec, AbortSignal.timeout(30_000)))
    return {
      try: async (way: Escape) => {
        const command = `${exports.join("; ")}\n${way.command}`
        return (await run(client, command, { timeoutMs: 20_000 }).catch((error) => ({ text: `killed ${error}` }))).text
      },
      close: () => driver.stop(spec.id, AbortSignal.timeout(30_000)),
    }
  }
  const together = new Map<Boundary, ReturnType<typeof open>>()
  try {
    await use({
      driver,
      async attempt(way) {
        const sandbox = await open()
        const said = await sandbox.try(way)
        await sandbox.close()
        return said
      },
      attemptTogether(way) {
        const before = together.get(way.boundary) ?? open()
        const said = before.then((sandbox) => sandbox.try(way))
        together.set(
          way.boundary,
          said.then(() => before),
        )
        return said
      },
    })
  } finally {
    for (const server of servers) server.close()
  }
}

/** bubblewrap, with a boundary taken away or with all of them. */
export const bubblewrapWith =
  (weakened: Weakened) =>
  (dataDir: string): SandboxDriver => {
    const rewrite = (argv: string[]) =>
      (weakened.rewrite?.(argv) ?? argv).map((arg) => (arg === HOST_FOLDER ? dataDir : arg))
    return createBubblewrapDriver({ dataDir, log: silentLogger, weakened: { ...weakened, rewrite } })
  }

async function listen(where: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer((socket) => void socket.on("error", () => {}).end("ESCAPED")).listen(where)
  await once(server, "listening")
  return server
}

const without =
  (...flags: string[]) =>
  (argv: string[]) =>
    argv.filter((arg) => !flags.includes(arg))

/** Takes out an option with its values. */
const withoutOption = (option: string, values: number) => (argv: string[]) => {
  const at = argv.indexOf(option)
  return at < 0 ? argv : [...argv.slice(0, at), ...argv.slice(at + 1 + values)]
}

/** Arguments up to `--`, so that what runs inside is left alone. */
const insert = (argv: string[], ...extra: string[]) => {
  const end = argv.indexOf("--")
  return [...argv.slice(0, end), ...extra, ...argv.slice(end)]
}

/** How each boundary is taken away, the others left as they are. */
export const REMOVED: Record<Boundary, Weakened> = {
  "host files hidden": {
    rewrite: (argv) => {
      const at = argv.lastIndexOf("--remount-ro")
      return [
        ...argv.slice(0, at),
        ...["/sys", "/etc", HOST_FOLDER].flatMap((path) => ["--ro-bind", path, path]),
        ...argv.slice(at),
      ]
    },
  },
  "own uid": { sameUid: true },
  "own processes only": { rewrite: (argv) => replaceProc(without("--unshare-pid")(argv)) },
  "no network": { rewrite: without("--unshare-net") },
  seccomp: { rewrite: withoutOption("--seccomp", 1) },
  "read-only system": {
    rewrite: (argv) =>
      argv.flatMap((arg, i) => (arg === "--remount-ro" || argv[i - 1] === "--remount-ro" ? [] : [arg])),
  },
  "no capabilities": {
    rewrite: (argv) =>
      insert(
        without("--disable-userns", "--assert-userns-disabled")(withoutOption("--cap-drop", 1)(argv)),
        "--cap-add",
        "ALL",
      ),
  },
  "clean environment": { rewrite: (argv) => insert(argv, "--setenv", "AUTONOMIS_CANARY", "x") },
  "memory limit": { noControlGroups: true },
  "process limit": {
    noControlGroups: true,
    rewrite: (argv) => argv.map((arg) => arg.replace(/^ulimit -u \d+ && /, "")),
  },
  "open files limit": { noUlimits: true },
}

/** Without a process namespace the kernel lets nobody mount a new `/proc`: the host's is shown. */
function replaceProc(argv: string[]): string[] {
  const at = argv.indexOf("--proc")
  return at < 0 ? argv : [...argv.slice(0, at), "--ro-bind", "/proc", "/proc", ...argv.slice(at + 2)]
}

export const escapesOf = (boundary: Boundary): Escape[] => ESCAPES.filter((way) => way.boundary === boundary)

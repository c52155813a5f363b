import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { createReadStream, createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { mkdir, readdir, rename, rm } from "node:fs/promises"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { imageSuite, withImageRoot } from "../scripts/image-root.ts"
import { createEngine } from "../server/src/sandboxes/drivers/docker/engine.ts"
import { hasImage, importImage } from "../server/src/sandboxes/drivers/docker/image.ts"
import { withOwnNetwork } from "../server/src/sandboxes/egress/own-network.ts"
import { until } from "./until.ts"

/**
 * A Docker daemon of the tests' own: its files in a temporary folder, in a mount and a network namespace of its own, which
 * has no way out. With the sandboxes' image.
 */
export interface TestDocker extends AsyncDisposable {
  readonly socket: string
  readonly pid: number
}

/** Where a whole test run finds the one daemon that it shares: `pid:socket`. */
export const SHARED_DOCKER = "AUTONOMIS_TEST_DOCKER"

const START_MS = 60_000
/** Making the image from nothing on a busy machine. */
const IMAGE_MS = 280_000

/** Why no daemon can run here whatever is installed; null when one should. */
export function dockerObstacle(): string | null {
  if (process.getuid?.() !== 0) return "a Docker daemon can be started by root only"
  if (!/^CapEff:\s*[0-9a-f]*[2367abef][0-9a-f]{5}$/m.test(readFileSync("/proc/self/status", "utf8")))
    return "this root may not mount anything (CAP_SYS_ADMIN), as in an unprivileged container"
  return null
}

/** Starts one. It ends with this process, however that ends; its image may still be under way: `dockerReady`. */
export function startDocker(): TestDocker {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-docker-"))
  const socket = join(folder, "docker.sock")
  const dockerd = [
    ...["dockerd", "--data-root", join(folder, "root"), "--exec-root", join(folder, "exec")],
    ...["--pidfile", join(folder, "pid"), "-H", `unix://${socket}`],
    ...["--bridge=none", "--iptables=false", "--ip-masq=false", "--ip-forward=false"],
  ]
  const child = spawn("setpriv", ["--pdeathsig=TERM", ...withOwnNetwork(dockerd)], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
    // A Ctrl-C in the terminal is not for it: tests end first.
    detached: true,
  })
  let ended = false
  const end = new Promise<void>((resolve) => {
    child.once("exit", () => {
      ended = true
      resolve()
    })
  })
  const said = tailOf(child)
  const made = provideImage(socket, () => (ended ? said() : null))
  made.catch((error) => {
    console.error(`No Docker daemon for the tests: ${error instanceof Error ? error.message : error}`)
    // Who waits for its image sees that there will be none.
    child.kill("SIGTERM")
  })
  child.unref()
  const atExit = () => {
    child.kill("SIGTERM")
    rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", atExit)
  return {
    socket,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.ref()
      child.kill("SIGTERM")
      await end
      await made.catch(() => {})
      process.off("exit", atExit)
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** The run's shared daemon, or one of this process's own; with its image. */
export async function testDocker(): Promise<TestDocker> {
  const [, pid = "", socket = ""] = /^(\d+):(.*)$/.exec(process.env[SHARED_DOCKER] ?? "") ?? []
  const docker = socket === "" ? startDocker() : { socket, pid: Number(pid), async [Symbol.asyncDispose]() {} }
  const engine = createEngine(docker.socket)
  await until(
    () => {
      if (!existsSync(`/proc/${docker.pid}`)) throw new Error("the tests' Docker daemon has ended: see above")
      return hasImage(engine, AbortSignal.timeout(START_MS)).catch(() => false)
    },
    "the tests' Docker daemon has its image",
    IMAGE_MS,
  )
  return docker
}

async function provideImage(socket: string, failure: () => string | null): Promise<void> {
  const engine = createEngine(socket)
  const up = async () => {
    const why = failure()
    if (why !== null) throw new Error(why)
    return engine.call("GET", "/info").then(
      () => true,
      () => false,
    )
  }
  const [file] = await Promise.all([imageFile(), until(up, "dockerd answers", START_MS)])
  await importImage(engine, createReadStream(file), AbortSignal.timeout(IMAGE_MS))
}

/** A tar of the image's files, kept over runs; its name is the hash of what it is made by. */
async function imageFile(): Promise<string> {
  const recipe = ["../scripts/image-root.ts", "../server/src/sandboxes/drivers/docker/image.ts"]
  const hash = createHash("sha256").update(imageSuite())
  for (const path of recipe) hash.update(readFileSync(fileURLToPath(new URL(path, import.meta.url))))
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "autonomis")
  const name = `sandbox-image-${hash.digest("hex").slice(0, 16)}.tar`
  const file = join(folder, name)
  if (existsSync(file)) return file
  await mkdir(folder, { recursive: true })
  const partial = `${file}.${process.pid}`
  try {
    await withImageRoot({ say: console.log }, (tar) => pipeline(tar(), createWriteStream(partial)))
    await rename(partial, file)
  } finally {
    await rm(partial, { force: true })
  }
  for (const old of await readdir(folder)) {
    if (/^sandbox-image-.*\.tar$/.test(old) && old !== name) await rm(join(folder, old), { force: true })
  }
  return file
}

function tailOf(child: ChildProcess): () => string {
  let said = ""
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    said = (said + chunk).slice(-2_000)
  })
  // Read on, without keeping this process alive.
  if (child.stderr && "unref" in child.stderr && typeof child.stderr.unref === "function") child.stderr.unref()
  return () => `dockerd could not start:\n${said}`
}

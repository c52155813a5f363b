import { createHash } from "node:crypto"
import { chmod, copyFile, mkdir, readFile, rm } from "node:fs/promises"
import type { Socket } from "node:net"
import { join } from "node:path"
import { z } from "zod"
import { AppError } from "../../../lib/errors.ts"
import type { Logger } from "../../../lib/log.ts"
import type { DriverReport, SandboxDriver, SandboxSpec } from "../../driver.ts"
import { groupsOf } from "../cgroups.ts"
import { GUEST_FILE } from "../guest-process.ts"
import { INNER_UID, readableNode } from "../inside.ts"
import { firstChild, signalCommands } from "../process-tree.ts"
import { createRunning, type RunningGuest } from "../running.ts"
import { createWorkspaces, type Workspaces } from "../workspace.ts"
import { listenForGuest } from "./channel.ts"
import { type ContainerBody, containerFor, LABEL } from "./container.ts"
import { type ContainerEnd, createContainers } from "./containers.ts"
import { createEngine, isAway, isGone } from "./engine.ts"
import { hasImage } from "./image.ts"
import { NO_IMAGE, OTHER_UIDS, problemOf } from "./problems.ts"
import { seccompProfile } from "./seccomp.ts"
import { probe, SELF_TEST } from "./self-test.ts"
import { createUserGroups, type Member } from "./user-groups.ts"

export interface DockerOptions {
  dataDir: string
  log: Logger
  /** Of the daemon. */
  socket: string
  /** Where control groups are, for tests; `/sys/fs/cgroup`. */
  cgroups?: string
  /** How often is looked who keeps the processor busy, for tests. */
  lookMs?: number
  /** For the tests that take a boundary away, to see that its absence is noticed. */
  weakened?: Weakened
}

export interface Weakened {
  /** Changes what the daemon is asked for. */
  rewrite?: (body: ContainerBody) => ContainerBody
  /** Opens sandboxes although the self-test refuses them. */
  openAnyway?: boolean
  /** Taken for the self-test's: that of another driver on the same daemon. */
  report?: DriverReport
}

/** What every container of this server shares. */
interface Ground {
  node: string
  guest: string
  guestHash: string
  seccomp: string
}

const STARTS_WITHIN_MS = 25_000
const GRACE_MS = 1_000

const Info = z.object({
  SecurityOptions: z.array(z.string()).nullish(),
  CgroupDriver: z.string().optional(),
  CgroupVersion: z.string().optional(),
})

/**
 * A container for each agent, made by Docker's daemon on this host. The guest inside connects to a unix socket that is
 * shown to it; when the server dies it goes on, and the next server takes it over as it is.
 */
export function createDockerDriver(options: DockerOptions): SandboxDriver {
  const { dataDir, log, socket, cgroups = "/sys/fs/cgroup", lookMs, weakened = {} } = options
  const ownUids = process.getuid?.() === 0
  const uid = ownUids ? INNER_UID : (process.getuid?.() ?? INNER_UID)
  const user = `${uid}:${ownUids ? INNER_UID : (process.getgid?.() ?? uid)}`
  const workspaces = ownedBy(createWorkspaces({ dataDir, ownUids }), ownUids ? uid : null)
  const running = createRunning<RunningGuest>(workspaces)
  const instance = instanceOf(dataDir)
  const engine = createEngine(socket)
  const containers = createContainers(engine, instance)
  const userGroups = createUserGroups({ containers, instance, log, root: cgroups, lookMs })
  const folder = join(dataDir, "docker")
  const nameOf = (id: string) => `autonomis-${instance}-${id}`
  const channelOf = (id: string) => join(folder, "channels", id)
  let ground: Promise<Ground> | null = null
  let report: Promise<DriverReport> | null = null
  /** It could not even be tried. */
  let obstructed = false

  async function prepareGround(): Promise<Ground> {
    const { arch } = process
    if (arch !== "x64" && arch !== "arm64") throw new Error(`no system call filter for ${arch}`)
    await mkdir(folder, { recursive: true })
    const guest = join(folder, "guest.mjs")
    // Not written over: what lives on from before still shows the old one.
    await rm(guest, { force: true })
    await copyFile(GUEST_FILE, guest)
    await chmod(guest, 0o644)
    const guestHash = createHash("sha256")
      .update(await readFile(guest))
      .digest("hex")
    return { guest, guestHash, node: await readableNode(folder), seccomp: seccompProfile(arch) }
  }

  function bodyFor(spec: SandboxSpec, made: Ground, command?: string[]): ContainerBody {
    const isProbe = command !== undefined
    const parent = userGroups.parentOf(spec.userId)
    const parts = { ...made, spec, user, workspace: workspaces.path(spec), parent }
    const labels = { [LABEL.instance]: instance, ...(isProbe ? {} : { [LABEL.agent]: spec.id }) }
    const channelFolder = isProbe ? null : channelOf(spec.id)
    const body = containerFor({ ...parts, channelFolder, ...(isProbe ? { command } : {}) }, labels)
    return weakened.rewrite?.(body) ?? body
  }

  /** Null when a sandbox could be tried. Quick, so that what was missing is found as soon as it is there. */
  async function obstacle(signal: AbortSignal): Promise<string | null> {
    try {
      const info = Info.parse(await engine.call("GET", "/info", { signal }))
      userGroups.setDaemon(info)
      const { SecurityOptions } = info
      if ((SecurityOptions ?? []).some((option) => /^name=(rootless|userns)/.test(option))) return OTHER_UIDS
      return (await hasImage(engine, signal)) ? null : NO_IMAGE
    } catch (error) {
      return problemOf(error)
    }
  }

  const unusable = (problem: string, holds: string[] = []) => ({ driver: "docker", usable: false, holds, problem })

  async function test(): Promise<DriverReport> {
    const problem = await obstacle(AbortSignal.timeout(STARTS_WITHIN_MS))
    obstructed = problem !== null
    if (problem !== null) {
      log.error("sandbox self-test failed", { problem, socket })
      return unusable(problem)
    }
    try {
      ground ??= prepareGround()
      const made = await ground
      if (weakened.report !== undefined) return weakened.report
      const member = await userGroups.enter(SELF_TEST.userId)
      const result = await probe({
        workspaces,
        uid,
        containers,
        name: nameOf(SELF_TEST.id),
        bodyFor: (spec, command) => bodyFor(spec, made, command),
      }).finally(() => member.leave())
      if (result.problem !== null) {
        log.error("sandbox self-test failed", { problem: result.problem, holds: result.holds })
        return unusable(result.problem, result.holds)
      }
      log.info("sandbox self-test passed", { holds: result.holds })
      return { driver: "docker", usable: true, holds: result.holds, problem: null, programs: result.programs }
    } catch (error) {
      ground = null
      log.error("the sandbox could not be tried", { error })
      return unusable(problemOf(error))
    }
  }

  async function start(spec: SandboxSpec, made: Ground, signal: AbortSignal): Promise<RunningGuest> {
    const member = await userGroups.enter(spec.userId)
    try {
      return await startAs(member, spec, made, signal)
    } catch (error) {
      await member.leave()
      throw error
    }
  }

  async function startAs(member: Member, spec: SandboxSpec, made: Ground, signal: AbortSignal): Promise<RunningGuest> {
    const body = bodyFor(spec, made)
    const left = await containers.running(nameOf(spec.id), body, signal)
    // Only now: the guest of one that was made for something else must not find it.
    const channel = await listenForGuest(channelOf(spec.id), ownUids ? INNER_UID : null)
    try {
      const { id, pid } = left ?? (await containers.start(nameOf(spec.id), body, signal))
      const gone = containers.gone(id)
      // Waited for below and at its end.
      gone.catch(() => {})
      const first = await Promise.race([
        channel.accepted,
        gone.then((end) => explain(end, spec.limits.memoryBytes)),
        aborted(AbortSignal.any([signal, AbortSignal.timeout(STARTS_WITHIN_MS)])),
      ]).catch(async (error) => {
        await containers.remove(id)
        throw error
      })
      if (typeof first === "string") {
        await containers.remove(id)
        throw new AppError("sandbox_unavailable", `the sandbox did not start: ${first}`)
      }
      if (left !== null) log.info("a sandbox of an earlier server was taken over", { agent: spec.id })
      member.watch({ id, pid, cpus: spec.limits.cpus, adopted: left !== null })
      return guestOf(spec, { id, pid, gone, stream: first, member })
    } finally {
      await channel.close()
    }
  }

  interface Open {
    id: string
    pid: number
    gone: Promise<ContainerEnd>
    stream: Socket
    member: Member
  }

  function guestOf(spec: SandboxSpec, { id, pid, gone, stream, member }: Open): RunningGuest {
    let stopped = false
    let guestLeft = false
    for (const event of ["end", "error"]) {
      stream.once(event, () => {
        guestLeft = true
      })
    }
    const groups = groupsOf(pid)
    const closed = new Promise<void>((resolve) => {
      if (stream.destroyed) resolve()
      else stream.once("close", () => resolve())
    })
    const ended = (async () => {
      const over = gone.then(
        (end) => explain(end, spec.limits.memoryBytes),
        (error) => (isGone(error) ? "its container was taken away" : "the Docker daemon went away"),
      )
      await Promise.race([closed, over])
      // A guest that has left is ending, and how is soon known; one that we left is ended.
      const why = stopped ? "stopped" : await Promise.race([over, connectionClosed(guestLeft ? GRACE_MS : 0)])
      stream.destroy()
      try {
        await containers.remove(id)
        await rm(channelOf(spec.id), { recursive: true, force: true })
      } catch (error) {
        log.warn("a container could not be removed", { agent: spec.id, error })
      }
      await member.leave()
      return why
    })()
    return {
      stream,
      ended,
      hits: groups.hits,
      host: {
        workspace: workspaces.path(spec),
        signalCommands: (signal) => signalCommands(pid, signal, (other) => other === firstChild(pid)),
      },
      async stop() {
        stopped = true
        stream.destroy()
        await ended
      },
    }
  }

  async function removeAll(): Promise<void> {
    const found = await containers.list(AbortSignal.timeout(STARTS_WITHIN_MS))
    await Promise.all(found.map(({ id }) => containers.remove(id)))
    await userGroups.removeEmpty()
  }

  /** Without a daemon there is nothing to end. */
  const unlessAway = async (work: Promise<void>) => {
    await work.catch((error: unknown) => {
      if (!isAway(error)) throw error
    })
  }

  const driver: SandboxDriver = {
    name: "docker",
    capabilities: { memoryLimit: true, networkPolicy: true, diskQuota: false, hostFiles: true },
    async selfTest(signal, retry = false) {
      let again = retry
      // The daemon may have been started, or its image made, since it was looked for: no restart is needed.
      if (obstructed && !again) {
        const now = await obstacle(signal)
        if (now !== null) report = Promise.resolve(unusable(now))
        else if (obstructed) again = true
      }
      if (report === null || again) {
        obstructed = false
        report = test()
      }
      return report
    },
    open: (spec, signal) =>
      running.open(spec.id, async () => {
        const { usable, problem } = await driver.selfTest(signal)
        if ((!usable && weakened.openAnyway !== true) || ground === null)
          throw new AppError("sandbox_unavailable", problem ?? "no sandbox can be opened")
        await workspaces.prepare(spec)
        signal.throwIfAborted()
        return start(spec, await ground, signal).catch(async (error) => {
          // The daemon went away after the test, or its image.
          const now = await obstacle(AbortSignal.timeout(STARTS_WITHIN_MS))
          if (now === null) throw error
          obstructed = true
          report = Promise.resolve(unusable(now))
          throw new AppError("sandbox_unavailable", now, { cause: error })
        })
      }),
    ...running.verbs,
    async stop(id, signal) {
      await running.verbs.stop(id, signal)
      await unlessAway(containers.remove(nameOf(id)))
      await userGroups.removeEmpty()
    },
    async destroy(owner, signal) {
      await driver.stop(owner.id, signal)
      await workspaces.remove(owner, signal)
    },
    async list(signal) {
      const found = await containers.list(signal).catch((error) => {
        if (isAway(error)) return []
        throw error
      })
      return found.flatMap(({ agent, running }) => (agent === "" ? [] : [{ id: agent, running }]))
    },
    async [Symbol.asyncDispose]() {
      await running.stopAll()
      await report?.catch(() => {})
      userGroups[Symbol.dispose]()
      await unlessAway(removeAll())
      await rm(folder, { recursive: true, force: true })
    },
  }
  return driver
}

/** Tells a server's containers from another's on the same daemon; the same at each of its starts. */
export const instanceOf = (dataDir: string) => createHash("sha256").update(dataDir).digest("hex").slice(0, 12)

/** All workspaces belong to the one user that containers run as. */
function ownedBy(workspaces: Workspaces, uid: number | null): Workspaces {
  if (uid === null) return workspaces
  return {
    ...workspaces,
    prepare: (owner) => workspaces.prepare({ ...owner, hostUid: uid }),
    files: (owner) => workspaces.files({ ...owner, hostUid: uid }),
  }
}

function explain({ exitCode, oomKilled }: ContainerEnd, memoryBytes: number): string {
  const killed = exitCode === 137
  if (killed && oomKilled) return `killed: memory limit ${Number((memoryBytes / 1024 ** 3).toFixed(2))} GiB`
  return killed ? "killed by SIGKILL" : `exited with ${exitCode}`
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  })
}

function connectionClosed(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("its connection closed"), ms).unref())
}

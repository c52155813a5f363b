import { silentLogger } from "../lib/log.ts"
import type { SandboxDriver } from "./driver.ts"
import type { ContainerBody } from "./drivers/docker/container.ts"
import { createDockerDriver } from "./drivers/docker/docker.ts"
import type { Boundary } from "./escapes.ts"

type Rewrite = (body: ContainerBody, dataDir: string) => ContainerBody
type Host = Record<string, unknown>

/** Docker, with a boundary taken away (and opened although the self-test refuses it) or with all of them. */
export const dockerWith =
  (socket: string, boundary: Boundary | null) =>
  (dataDir: string): SandboxDriver => {
    const rewrite = (body: ContainerBody) => (boundary === null ? body : DOCKER_REMOVED[boundary](body, dataDir))
    return createDockerDriver({
      ...{ dataDir, log: silentLogger, socket },
      weakened: { rewrite, openAnyway: boundary !== null },
    })
  }

const host =
  (changes: Host): Rewrite =>
  (body) => ({ ...body, HostConfig: { ...body.HostConfig, ...changes } })

/** Root inside, who may pass by a folder's mode: without that right it could not even begin. */
const asRoot: Rewrite = (body) => host({ CapAdd: ["DAC_OVERRIDE"] })({ ...body, User: "0:0" }, "")

const withoutKernelFiles = ({ HostConfig }: ContainerBody): Host => {
  const { Tmpfs, Mounts } = HostConfig as { Tmpfs?: Record<string, string>; Mounts?: unknown[] }
  return { Tmpfs: { "/tmp": Tmpfs?.["/tmp"] ?? "" }, Mounts: Mounts ?? [] }
}

/** How each boundary is taken away, the others left as they are. */
const DOCKER_REMOVED: Record<Boundary, Rewrite> = {
  "host files hidden": (body, dataDir) => {
    const { Tmpfs, Mounts } = withoutKernelFiles(body)
    const shown = { Type: "bind", Source: dataDir, Target: dataDir, ReadOnly: true }
    return host({ Tmpfs, Mounts: [...(Array.isArray(Mounts) ? Mounts : []), shown] })(body, dataDir)
  },
  "own uid": asRoot,
  "own processes only": host({ PidMode: "host" }),
  "no network": (body) => host({ NetworkMode: "host" })({ ...body, NetworkDisabled: false }, ""),
  seccomp: host({ SecurityOpt: ["no-new-privileges:true", "seccomp=unconfined"] }),
  // Who is not root may not write there either: both are taken away.
  "read-only system": (body, dataDir) => host({ ReadonlyRootfs: false })(asRoot(body, dataDir), dataDir),
  "no capabilities": host({ CapDrop: [], CapAdd: ["ALL"] }),
  "clean environment": (body) => ({ ...body, Env: ["AUTONOMIS_CANARY=x"] }),
  "memory limit": host({ Memory: 0, MemorySwap: 0 }),
  "process limit": host({ PidsLimit: 0 }),
  "open files limit": host({ Ulimits: [] }),
}

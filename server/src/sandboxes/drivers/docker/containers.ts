import { z } from "zod"
import { type ContainerBody, LABEL } from "./container.ts"
import { type Engine, EngineError, isGone } from "./engine.ts"

/** One server's containers on a daemon that others use too. */
export interface Containers {
  /** The running one of that name when it was made for the same; any other of that name is gone then. */
  running(name: string, body: ContainerBody, signal: AbortSignal): Promise<Started | null>
  start(name: string, body: ContainerBody, signal: AbortSignal): Promise<Started>
  /** Resolves with how it ended, once it has. Rejects when the daemon goes away. */
  gone(id: string): Promise<ContainerEnd>
  /** Ends it and takes it away; one that is not there is fine. By id or name. */
  remove(idOrName: string): Promise<void>
  /** Gives a running one another part of the processor: its weight beside others, or how much at most. */
  update(id: string, change: { CpuShares: number } | { NanoCpus: number }): Promise<void>
  /** All of this server, running or not. */
  list(signal: AbortSignal): Promise<{ id: string; agent: string; running: boolean }[]>
}

export interface Started {
  id: string
  /** Of its first process, on the host. */
  pid: number
}

export interface ContainerEnd {
  exitCode: number
  /** The kernel killed something in it because memory was short. */
  oomKilled: boolean
}

/** No removal takes longer, unless the daemon is stuck. */
const soon = () => AbortSignal.timeout(30_000)

const Inspected = z.object({
  Id: z.string(),
  State: z.object({ Running: z.boolean(), Pid: z.number(), ExitCode: z.number(), OOMKilled: z.boolean() }),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullable() }),
})
const Created = z.object({ Id: z.string() })
const Listed = z.array(z.object({ Id: z.string(), State: z.string(), Labels: z.record(z.string(), z.string()) }))

export function createContainers(engine: Engine, instance: string): Containers {
  const inspect = async (idOrName: string, signal?: AbortSignal) =>
    Inspected.parse(await engine.call("GET", `/containers/${idOrName}/json`, signal ? { signal } : {}))

  async function find(name: string, signal: AbortSignal) {
    try {
      return await inspect(name, signal)
    } catch (error) {
      if (isGone(error)) return null
      throw error
    }
  }

  async function remove(idOrName: string): Promise<void> {
    try {
      await engine.call("DELETE", `/containers/${idOrName}`, { query: { force: "1", v: "1" }, signal: soon() })
    } catch (error) {
      // 409: somebody else is taking it away already.
      const taken = error instanceof EngineError && error.reason === 409
      if (!taken && !isGone(error)) throw error
      if (taken) await untilRemoved(idOrName)
    }
  }

  async function untilRemoved(idOrName: string): Promise<void> {
    await engine
      .call("POST", `/containers/${idOrName}/wait`, { query: { condition: "removed" }, signal: soon() })
      .catch((error) => {
        if (!isGone(error)) throw error
      })
  }

  return {
    remove,
    async running(name, body, signal) {
      const there = await find(name, signal)
      if (there === null) return null
      const same = there.Config.Labels?.[LABEL.spec] === body.Labels[LABEL.spec]
      if (same && there.State.Running) return { id: there.Id, pid: there.State.Pid }
      await remove(there.Id)
      return null
    },
    async start(name, body, signal) {
      const { Id: id } = Created.parse(
        await engine.call("POST", "/containers/create", { query: { name }, body, signal }),
      )
      try {
        await engine.call("POST", `/containers/${id}/start`, { signal })
        return { id, pid: (await inspect(id, signal)).State.Pid }
      } catch (error) {
        await remove(id)
        throw error
      }
    },
    async gone(id) {
      await engine.call("POST", `/containers/${id}/wait`, { query: { condition: "not-running" } })
      const { State } = await inspect(id)
      return { exitCode: State.ExitCode, oomKilled: State.OOMKilled }
    },
    async update(id, change) {
      await engine.call("POST", `/containers/${id}/update`, { body: change, signal: soon() })
    },
    async list(signal) {
      const filters = JSON.stringify({ label: [`${LABEL.instance}=${instance}`] })
      const all = Listed.parse(await engine.call("GET", "/containers/json", { query: { all: "1", filters }, signal }))
      return all.map(({ Id, State, Labels }) => ({
        id: Id,
        agent: Labels[LABEL.agent] ?? "",
        running: State === "running",
      }))
    },
  }
}

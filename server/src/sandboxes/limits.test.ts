import assert from "node:assert/strict"
import { chmod, mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { after, describe, test } from "node:test"
import { dockerObstacle, type TestDocker, testDocker } from "../../../test/docker.ts"
import { silentLogger } from "../lib/log.ts"
import { createRedactor } from "../lib/redact.ts"
import type { SandboxSpec } from "./driver.ts"
import { createSandboxes, type SandboxesOptions } from "./sandboxes.ts"
import { anySignal, specOf, temporaryFolder } from "./testing.ts"

const MIB = 1024 * 1024
const secrets = async () => ({ env: {}, redactor: createRedactor([]) })

interface Inside {
  bash(command: string): Promise<{ exitCode: number | null; output: string; killed: string | null }>
  holds: string[]
}

type Where = () => Promise<Pick<SandboxesOptions, "kind" | "dockerSocket">>

const obstacle = dockerObstacle()
let shared: Promise<TestDocker> | null = null
after(async () => (await shared)?.[Symbol.asyncDispose]())

async function dockerHere() {
  shared ??= testDocker()
  return { kind: "docker", dockerSocket: (await shared).socket } as const
}

describe("bubblewrap", () => limits(async () => ({ kind: "bubblewrap" })))
describe("docker", obstacle === null ? {} : { skip: obstacle }, () => {
  limits(dockerHere)

  test("a file that passes the workspace's limit, and many that do, end their command; the container lives on", () =>
    inside(
      dockerHere,
      async () => ({ limits: { memoryBytes: 256 * MIB, cpus: 1, pids: 60, storageBytes: 8 * MIB } }),
      async ({ bash }) => {
        await bash("echo kept > /tmp/kept")
        assert.equal(
          (await bash("exec head -c 9M /dev/zero > big")).killed,
          "killed: a file passed the storage limit 8 MiB",
        )
        const many = await bash("rm big; for i in $(seq 200); do head -c 1M /dev/zero > f$i; sleep 0.05; done")
        assert.equal(many.killed, "killed: storage limit 8 MiB; delete files to go on")
        assert.equal((await bash("rm f*; cat /tmp/kept")).output, "kept\n")
      },
    ))
})

async function inside(
  where: Where,
  changes: (dataDir: string) => Promise<Partial<SandboxSpec>>,
  use: (tools: Inside) => Promise<void>,
): Promise<void> {
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({ ...(await where()), dataDir: folder.path, log: silentLogger })
  const { usable, problem, holds } = await sandboxes.selfTest(anySignal())
  assert.ok(usable, problem ?? "")
  const hands = sandboxes.hands(specOf(await changes(folder.path)), { secrets })
  await use({ holds, bash: (command) => hands.exec({ command }, () => {}, anySignal()) })
}

function limits(where: Where): void {
  const small = async () => ({ limits: { memoryBytes: 256 * MIB, cpus: 0.5, pids: 60, storageBytes: null } })

  test("a command that takes all memory is killed and told so; the sandbox lives on", () =>
    inside(where, small, async ({ bash, holds }) => {
      await bash("echo kept > /tmp/kept")
      const hog = await bash(`exec perl -e '$x="x"x(1<<30)'`)
      if (!holds.includes("memory limit")) return assert.ok(process.getuid?.() !== 0, "root can limit memory")
      assert.deepEqual([hog.exitCode, hog.killed], [null, "killed: memory limit 0.25 GiB"])
      const part = await bash(`perl -e '$x="x"x(1<<30)'; echo went on`)
      assert.match(part.output, /went on\n[\s\S]*a process was killed: memory limit 0\.25 GiB/)
      assert.equal((await bash("cat /tmp/kept")).output, "kept\n")
    }))

  test("processes are held to their number and told so; what is left in the background counts", () =>
    inside(where, small, async ({ bash, holds }) => {
      assert.ok(holds.includes("process limit"))
      const left = await bash("for i in $(seq 30); do sleep 90 & done; echo ok")
      assert.equal(left.output, "ok\n")
      const bomb = await bash(
        `perl -e 'for(1..100){$p=fork; if(!defined $p){print "refused $_\\n"; exit} if(!$p){sleep 1; exit}}'`,
      )
      const at = Number(/refused (\d+)/.exec(bomb.output)?.[1])
      assert.ok(at > 1 && at < 30, bomb.output)
    }))

  test("the processor's share is bounded", () =>
    inside(where, small, async ({ bash, holds }) => {
      if (!holds.includes("cpu limit")) return assert.ok(process.getuid?.() !== 0, "root can limit the processor")
      const spent = await bash(
        "(for i in 1 2 3; do (while :; do :; done) & done; sleep 1.5; kill $(jobs -p); wait) 2>/dev/null; times",
      )
      // The last line of `times` is that of the children.
      const [, user = "0"] = /0m([\d.]+)s 0m[\d.]+s\n$/.exec(spent.output) ?? []
      assert.ok(Number(user) > 0.1 && Number(user) < 1.5, `half a processor for 1.5 s is less than ${user} s`)
    }))

  test("folders shown read-only can be read and not changed, below a data folder that only root may pass", () =>
    inside(
      where,
      async (dataDir) => {
        const source = join(dataDir, "users", "usr_test1", "skills")
        await mkdir(join(source, "greeter"), { recursive: true })
        await writeFile(join(source, "greeter", "SKILL.md"), "hello", { mode: 0o644 })
        await chmod(join(source, "greeter"), 0o755)
        await chmod(source, 0o755)
        return { readOnlyMounts: [{ source, target: "/skills" }] }
      },
      async ({ bash }) => {
        assert.equal((await bash("cat /skills/greeter/SKILL.md")).output, "hello")
        assert.match(
          (await bash("touch /skills/x; rm -rf /skills/greeter; ls /skills")).output,
          /Read-only[\s\S]*greeter\n$/,
        )
      },
    ))
}

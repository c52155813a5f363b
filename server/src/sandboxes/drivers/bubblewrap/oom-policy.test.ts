import assert from "node:assert/strict"
import { test } from "node:test"
import { oomPolicyNote } from "./oom-policy.ts"

const SERVICE = "/system.slice/autonomis.service"
const told = (group: string, policy: string) => async () => `ControlGroup=${group}\nOOMPolicy=${policy}\n`

function noteFor(path: string, ask: (args: string[]) => Promise<string>) {
  return oomPolicyNote(Promise.resolve(`1:name=systemd:/\n0::${path}\n`), ask)
}

test("a service that systemd would end for what a sandbox does is told so, also once the server has moved to its leaf", async () => {
  for (const path of [SERVICE, `${SERVICE}/autonomis-server`])
    assert.match(
      (await noteFor(path, told(SERVICE, "stop"))) ?? "",
      /ends the whole server .*`Delegate=yes` in autonomis\.service$/,
    )
})

test("nothing is told where systemd lets the service go on, does not know it, or is not there", async () => {
  assert.equal(await noteFor(SERVICE, told(SERVICE, "continue")), null)
  assert.equal(await noteFor(SERVICE, told("", "stop")), null)
  assert.equal(await noteFor(SERVICE, told("/system.slice/autonomis.serv", "stop")), null)
  assert.equal(await noteFor(SERVICE, () => Promise.reject(new Error("ENOENT"))), null)
  assert.equal(await noteFor("/", () => assert.fail("nobody to ask about")), null)
})

test("a user's own manager is asked about a service of theirs", async () => {
  const path = "/user.slice/user-7.slice/user@7.service/app.slice/own.service"
  const asked: string[][] = []
  await noteFor(path, async (args) => {
    asked.push(args)
    return ""
  })
  assert.deepEqual([asked[0]?.[0], asked[0]?.at(-1)], ["--user", "own.service"])
})

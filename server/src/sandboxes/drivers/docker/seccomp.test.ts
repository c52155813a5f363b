import assert from "node:assert/strict"
import { test } from "node:test"
import { z } from "zod"
import { DENIED } from "../syscalls.ts"
import { seccompProfile } from "./seccomp.ts"

const Profile = z.object({
  defaultAction: z.literal("SCMP_ACT_ALLOW"),
  architectures: z.array(z.string()),
  syscalls: z.array(
    z.object({
      names: z.array(z.string()),
      action: z.literal("SCMP_ACT_ERRNO"),
      errnoRet: z.number(),
      args: z
        .array(z.object({ index: z.number(), op: z.string(), value: z.number(), valueTwo: z.number().optional() }))
        .default([]),
    }),
  ),
})

/** As the daemon's library reads it: all of a rule's conditions must hold, over 64 bits; null when no rule does. */
function judge(profile: z.output<typeof Profile>, name: string, args: bigint[] = []): number | null {
  const met = (rule: (typeof profile.syscalls)[number]) =>
    rule.args.every(({ index, op, value, valueTwo = 0 }) => {
      const given = BigInt.asUintN(64, args[index] ?? 0n)
      if (op === "SCMP_CMP_EQ") return given === BigInt(value)
      if (op === "SCMP_CMP_NE") return given !== BigInt(value)
      if (op === "SCMP_CMP_GT") return given > BigInt(value)
      if (op === "SCMP_CMP_MASKED_EQ") return (given & BigInt(value)) === BigInt(valueTwo)
      return assert.fail(op)
    })
  return profile.syscalls.find((rule) => rule.names.includes(name) && met(rule))?.errnoRet ?? null
}

const [EPERM, ENOSYS, EAFNOSUPPORT] = [1, 38, 97]

for (const architecture of ["x64", "arm64"] as const) {
  const profile = Profile.parse(JSON.parse(seccompProfile(architecture)))
  const on = (name: string, ...args: bigint[]) => judge(profile, name, args)

  test(`${architecture}: the container's profile refuses every call of the table, and names one architecture only`, () => {
    for (const [name, x64, arm64] of DENIED) {
      if ((architecture === "x64" ? x64 : arm64) !== null) assert.equal(on(name), EPERM, name)
    }
    for (const name of ["read", "openat", "execve", "futex", "prctl", "seccomp"]) assert.equal(on(name), null, name)
    assert.deepEqual(profile.architectures, [architecture === "x64" ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64"])
  })

  test(`${architecture}: it looks at arguments as bubblewrap's filter does`, () => {
    for (const flags of [0x3d0f00n, 17n]) assert.equal(on("clone", flags), null)
    for (const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n])
      assert.equal(on("clone", flag | 17n), EPERM)
    assert.equal(on("clone3"), ENOSYS)
    for (const family of [1n, 2n, 10n]) assert.equal(on("socket", family, 1n, 0n), null)
    assert.equal(on("socket", 16n, 3n, 0n), null)
    assert.equal(on("socket", 16n, 3n, 12n), EAFNOSUPPORT)
    for (const family of [0n, 3n, 17n, 31n, 38n, 40n, 44n, 0x100000028n])
      assert.equal(on("socket", family, 3n, 0n), EAFNOSUPPORT, String(family))
    assert.equal(on("socketpair", 1n), null)
    assert.equal(on("socketpair", 30n), EAFNOSUPPORT)
    assert.equal(on("ioctl", 0n, 0x5401n), null)
    for (const request of [0x5412n, 0xdead00005412n, 0x541cn]) assert.equal(on("ioctl", 0n, request), EPERM)
    assert.equal(on("personality", 0n), null)
    assert.equal(on("personality", 0x40000n), EPERM)
  })
}

import assert from "node:assert/strict"
import { test } from "node:test"
import { ARCHITECTURES, type Architecture, DENIED } from "../syscalls.ts"
import { ALLOW, EAFNOSUPPORT, ENOSYS, EPERM, errno, KILL, seccompFilter } from "./seccomp.ts"

/** Runs the filter as the kernel would; only what the filter uses, everything else is a fault. */
function judge(program: Buffer, call: { arch: number; number: number; args?: bigint[] }): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(call.number >>> 0, 0)
  data.writeUInt32LE(call.arch, 4)
  for (const [i, value] of (call.args ?? []).entries()) data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + 8 * i)
  let accumulator = 0
  for (let pc = 0; pc < program.length / 8; pc++) {
    const op = program.readUInt16LE(pc * 8)
    const value = program.readUInt32LE(pc * 8 + 4)
    const jump = (condition: boolean) => {
      pc += program.readUInt8(pc * 8 + (condition ? 2 : 3))
    }
    if (op === 0x20) accumulator = data.readUInt32LE(value)
    else if (op === 0x15) jump(accumulator === value)
    else if (op === 0x35) jump(accumulator >= value)
    else if (op === 0x45) jump((accumulator & value) !== 0)
    else if (op === 0x06) return value
    else assert.fail(`instruction ${op} at ${pc}`)
  }
  return assert.fail("ran past the end")
}

/** The numbers of the kernel's own headers for calls that every program needs. */
const NEEDED: Record<Architecture, Record<string, number>> = {
  x64: {
    read: 0,
    write: 1,
    openat: 257,
    mmap: 9,
    execve: 59,
    futex: 202,
    epoll_wait: 232,
    wait4: 61,
    prctl: 157,
    seccomp: 317,
    chown: 92,
  },
  arm64: {
    read: 63,
    write: 64,
    openat: 56,
    mmap: 222,
    execve: 221,
    futex: 98,
    epoll_pwait: 22,
    wait4: 260,
    prctl: 167,
    seccomp: 277,
    fchown: 55,
  },
}

for (const architecture of ["x64", "arm64"] as const) {
  const program = seccompFilter(architecture)
  const numbers = ARCHITECTURES[architecture]
  const on = (number: number, ...args: bigint[]) => judge(program, { arch: numbers.audit, number, args })

  test(`${architecture}: every call of the table is refused, those a program needs pass`, () => {
    for (const [name, x64, arm64] of DENIED) {
      const number = architecture === "x64" ? x64 : arm64
      if (number !== null) assert.equal(on(number), errno(EPERM), name)
    }
    for (const [name, number] of Object.entries(NEEDED[architecture])) assert.equal(on(number), ALLOW, name)
  })

  test(`${architecture}: clone makes threads and processes but no namespaces, clone3 is not there`, () => {
    assert.equal(on(numbers.clone, 0x3d0f00n), ALLOW)
    assert.equal(on(numbers.clone, 17n), ALLOW)
    for (const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
      assert.equal(on(numbers.clone, flag | 17n), errno(EPERM))
    }
    assert.equal(on(numbers.clone3), errno(ENOSYS))
  })

  test(`${architecture}: sockets of the internet, of files and for routing only`, () => {
    for (const family of [1n, 2n, 10n]) assert.equal(on(numbers.socket, family, 1n, 0n), ALLOW)
    assert.equal(on(numbers.socket, 16n, 3n, 0n), ALLOW)
    assert.equal(on(numbers.socket, 16n, 3n, 12n), errno(EAFNOSUPPORT))
    // packet, vsock, alg, bluetooth, tipc, xdp
    for (const family of [17n, 40n, 38n, 31n, 30n, 44n])
      assert.equal(on(numbers.socket, family, 3n, 0n), errno(EAFNOSUPPORT))
    assert.equal(on(numbers.socketpair, 1n), ALLOW)
    assert.equal(on(numbers.socketpair, 30n), errno(EAFNOSUPPORT))
  })

  test(`${architecture}: terminal tricks and odd personalities are refused, also with high bits set`, () => {
    assert.equal(on(numbers.ioctl, 0n, 0x5401n), ALLOW)
    assert.equal(on(numbers.ioctl, 0n, 0x5412n), errno(EPERM))
    assert.equal(on(numbers.ioctl, 0n, 0xdead00005412n), errno(EPERM))
    assert.equal(on(numbers.ioctl, 0n, 0x541cn), errno(EPERM))
    assert.equal(on(numbers.personality, 0n), ALLOW)
    assert.equal(on(numbers.personality, 0xffffffffn), ALLOW)
    assert.equal(on(numbers.personality, 0x40000n), errno(EPERM))
  })

  test(`${architecture}: calls in another architecture's numbers are killed`, () => {
    const other = architecture === "x64" ? ARCHITECTURES.arm64.audit : ARCHITECTURES.x64.audit
    for (const arch of [other, 0x40000003, 0x40000028, 0]) assert.equal(judge(program, { arch, number: 1 }), KILL)
    if (architecture === "x64") assert.equal(on(0x40000000 | 1), KILL)
  })
}

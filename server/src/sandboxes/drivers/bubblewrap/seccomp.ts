import { ARCHITECTURES, type Architecture, DENIED } from "../syscalls.ts"

/** One instruction of classic BPF; `yes` and `no` name where to jump, null is the next instruction. */
type Step = { op: number; value: number; yes?: string; no?: string } | { label: string }

const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const JUMP_ANY_BIT = 0x45
const RETURN = 0x06

const NUMBER = 0
const ARCH = 4
/** The low half of argument n; both architectures are little endian. */
const argument = (n: number) => 16 + 8 * n
const highHalf = (n: number) => argument(n) + 4

export const ALLOW = 0x7fff0000
export const KILL = 0x80000000
export const errno = (number: number) => 0x00050000 | number
export const EPERM = 1
export const ENOSYS = 38
export const EAFNOSUPPORT = 97

/** All CLONE_NEW* flags that `clone` takes. */
const NAMESPACES = 0x7e020000
const X32 = 0x40000000
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 }
/** Pushing characters into a terminal, and the console's own calls. */
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c

/**
 * The filter for bubblewrap's `--seccomp`: refuses the calls of the table, new namespaces, unusual sockets and terminal
 * tricks; kills whatever comes in another architecture's numbers.
 */
export function seccompFilter(architecture: Architecture): Buffer {
  const numbers = ARCHITECTURES[architecture]
  const column = architecture === "x64" ? 1 : 2
  const steps: Step[] = [
    { op: LOAD, value: ARCH },
    { op: JUMP_EQUAL, value: numbers.audit, no: "kill" },
    { op: LOAD, value: NUMBER },
  ]
  if (architecture === "x64") steps.push({ op: JUMP_AT_LEAST, value: X32, yes: "kill" })
  steps.push(
    { op: JUMP_EQUAL, value: numbers.clone, yes: "clone" },
    { op: JUMP_EQUAL, value: numbers.clone3, yes: "nosys" },
    { op: JUMP_EQUAL, value: numbers.socket, yes: "socket" },
    { op: JUMP_EQUAL, value: numbers.socketpair, yes: "socketpair" },
    { op: JUMP_EQUAL, value: numbers.ioctl, yes: "ioctl" },
    { op: JUMP_EQUAL, value: numbers.personality, yes: "personality" },
  )
  for (const entry of DENIED) {
    const number = entry[column]
    if (number !== null) steps.push({ op: JUMP_EQUAL, value: number, yes: "deny" })
  }
  steps.push(
    { op: RETURN, value: ALLOW },
    { label: "clone" },
    { op: LOAD, value: argument(0) },
    { op: JUMP_ANY_BIT, value: NAMESPACES, yes: "deny", no: "allow" },
    { label: "socket" },
    { op: LOAD, value: argument(0) },
    { op: JUMP_EQUAL, value: AF.unix, yes: "allow" },
    { op: JUMP_EQUAL, value: AF.inet, yes: "allow" },
    { op: JUMP_EQUAL, value: AF.inet6, yes: "allow" },
    { op: JUMP_EQUAL, value: AF.netlink, no: "family" },
    // Of netlink only routing (0), which lists the addresses.
    { op: LOAD, value: argument(2) },
    { op: JUMP_EQUAL, value: 0, yes: "allow", no: "family" },
    { label: "socketpair" },
    { op: LOAD, value: argument(0) },
    { op: JUMP_EQUAL, value: AF.unix, yes: "allow", no: "family" },
    { label: "ioctl" },
    { op: LOAD, value: argument(1) },
    { op: JUMP_EQUAL, value: TIOCSTI, yes: "deny" },
    { op: JUMP_EQUAL, value: TIOCLINUX, yes: "deny", no: "allow" },
    { label: "personality" },
    { op: LOAD, value: highHalf(0) },
    { op: JUMP_EQUAL, value: 0, no: "deny" },
    { op: LOAD, value: argument(0) },
    { op: JUMP_EQUAL, value: 0, yes: "allow" },
    { op: JUMP_EQUAL, value: 0xffffffff, yes: "allow", no: "deny" },
    { label: "allow" },
    { op: RETURN, value: ALLOW },
    { label: "deny" },
    { op: RETURN, value: errno(EPERM) },
    { label: "nosys" },
    { op: RETURN, value: errno(ENOSYS) },
    { label: "family" },
    { op: RETURN, value: errno(EAFNOSUPPORT) },
    { label: "kill" },
    { op: RETURN, value: KILL },
  )
  return assemble(steps)
}

function assemble(steps: Step[]): Buffer {
  const labels = new Map<string, number>()
  const instructions: Exclude<Step, { label: string }>[] = []
  for (const step of steps) {
    if ("label" in step) labels.set(step.label, instructions.length)
    else instructions.push(step)
  }
  const program = Buffer.alloc(instructions.length * 8)
  instructions.forEach((step, i) => {
    const distance = (label: string | undefined) => {
      if (label === undefined) return 0
      const target = labels.get(label)
      if (target === undefined || target <= i || target - i - 1 > 255) throw new Error(`no jump from ${i} to ${label}`)
      return target - i - 1
    }
    program.writeUInt16LE(step.op, i * 8)
    program.writeUInt8(distance(step.yes), i * 8 + 2)
    program.writeUInt8(distance(step.no), i * 8 + 3)
    program.writeUInt32LE(step.value, i * 8 + 4)
  })
  return program
}

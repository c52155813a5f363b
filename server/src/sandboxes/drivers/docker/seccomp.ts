import { type Architecture, DENIED } from "../syscalls.ts"

interface Rule {
  names: string[]
  action: "SCMP_ACT_ERRNO"
  errnoRet: number
  args?: { index: number; op: string; value: number; valueTwo?: number }[]
}

const EPERM = 1
const ENOSYS = 38
const EAFNOSUPPORT = 97
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 }
const LOW_HALF = 0xffffffff
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c
/** CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET. */
const NAMESPACES = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]

const refuse = (name: string, errnoRet: number, ...args: NonNullable<Rule["args"]>): Rule => ({
  names: [name],
  action: "SCMP_ACT_ERRNO",
  errnoRet,
  ...(args.length > 0 ? { args } : {}),
})

/**
 * bubblewrap's filter in the form that Docker takes: the same table, the same looks at arguments. What comes in another
 * architecture's numbers ends the process, since only ours is named. Two differences are the form's: a call whose name
 * the daemon's library does not know yet is passed over, and `personality` cannot be asked for either.
 */
export function seccompProfile(architecture: Architecture): string {
  const column = architecture === "x64" ? 1 : 2
  const families = Array.from({ length: AF.netlink }, (_, family) => family)
  const syscalls: Rule[] = [
    ...DENIED.filter((entry) => entry[column] !== null).map(([name]) => refuse(name, EPERM)),
    ...NAMESPACES.map((flag) =>
      refuse("clone", EPERM, { index: 0, op: "SCMP_CMP_MASKED_EQ", value: flag, valueTwo: flag }),
    ),
    refuse("clone3", ENOSYS),
    ...families
      .filter((family) => family !== AF.unix && family !== AF.inet && family !== AF.inet6)
      .map((family) => refuse("socket", EAFNOSUPPORT, { index: 0, op: "SCMP_CMP_EQ", value: family })),
    refuse("socket", EAFNOSUPPORT, { index: 0, op: "SCMP_CMP_GT", value: AF.netlink }),
    // Of netlink only routing (0), which lists the addresses.
    refuse(
      "socket",
      EAFNOSUPPORT,
      { index: 0, op: "SCMP_CMP_EQ", value: AF.netlink },
      { index: 2, op: "SCMP_CMP_NE", value: 0 },
    ),
    refuse("socketpair", EAFNOSUPPORT, { index: 0, op: "SCMP_CMP_NE", value: AF.unix }),
    ...[TIOCSTI, TIOCLINUX].map((request) =>
      refuse("ioctl", EPERM, { index: 1, op: "SCMP_CMP_MASKED_EQ", value: LOW_HALF, valueTwo: request }),
    ),
    refuse("personality", EPERM, { index: 0, op: "SCMP_CMP_NE", value: 0 }),
  ]
  const architectures = [architecture === "x64" ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64"]
  return JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", architectures, syscalls })
}

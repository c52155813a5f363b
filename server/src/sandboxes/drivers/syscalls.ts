/**
 * System calls that no sandbox may make, with their numbers: name, x86-64, arm64 (null: not there). Each reaches deep
 * into the kernel or out of the sandbox, and nothing that an agent's tools do needs it.
 */
export const DENIED: readonly (readonly [name: string, x64: number | null, arm64: number | null])[] = [
  // Mounts and namespaces.
  ["mount", 165, 40],
  ["umount2", 166, 39],
  ["pivot_root", 155, 41],
  ["chroot", 161, 51],
  ["open_tree", 428, 428],
  ["move_mount", 429, 429],
  ["fsopen", 430, 430],
  ["fsconfig", 431, 431],
  ["fsmount", 432, 432],
  ["fspick", 433, 433],
  ["mount_setattr", 442, 442],
  ["open_tree_attr", 467, 467],
  ["unshare", 272, 97],
  ["setns", 308, 268],
  // Other processes' memory and descriptors.
  ["ptrace", 101, 117],
  ["process_vm_readv", 310, 270],
  ["process_vm_writev", 311, 271],
  ["process_madvise", 440, 440],
  ["pidfd_getfd", 438, 438],
  ["kcmp", 312, 272],
  // Parts of the kernel with a long list of past holes.
  ["bpf", 321, 280],
  ["perf_event_open", 298, 241],
  ["userfaultfd", 323, 282],
  ["io_uring_setup", 425, 425],
  ["io_uring_enter", 426, 426],
  ["io_uring_register", 427, 427],
  ["keyctl", 250, 219],
  ["add_key", 248, 217],
  ["request_key", 249, 218],
  ["memfd_secret", 447, 447],
  ["fanotify_init", 300, 262],
  ["open_by_handle_at", 304, 265],
  ["lookup_dcookie", 212, 18],
  ["nfsservctl", 180, 42],
  ["modify_ldt", 154, null],
  ["uselib", 134, null],
  ["ustat", 136, null],
  ["sysfs", 139, null],
  ["_sysctl", 156, null],
  ["vserver", 236, null],
  // The machine itself.
  ["kexec_load", 246, 104],
  ["kexec_file_load", 320, 294],
  ["init_module", 175, 105],
  ["finit_module", 313, 273],
  ["delete_module", 176, 106],
  ["create_module", 174, null],
  ["get_kernel_syms", 177, null],
  ["query_module", 178, null],
  ["reboot", 169, 142],
  ["swapon", 167, 224],
  ["swapoff", 168, 225],
  ["acct", 163, 89],
  ["quotactl", 179, 60],
  ["quotactl_fd", 443, 443],
  ["settimeofday", 164, 170],
  ["clock_settime", 227, 112],
  ["adjtimex", 159, 171],
  ["clock_adjtime", 305, 266],
  ["sethostname", 170, 161],
  ["setdomainname", 171, 162],
  ["syslog", 103, 116],
  ["vhangup", 153, 58],
  ["iopl", 172, null],
  ["ioperm", 173, null],
  // Where memory lies on the machine.
  ["mbind", 237, 235],
  ["set_mempolicy", 238, 237],
  ["get_mempolicy", 239, 236],
  ["set_mempolicy_home_node", 450, 450],
  ["migrate_pages", 256, 238],
  ["move_pages", 279, 239],
]

export type Architecture = "x64" | "arm64"

/** AUDIT_ARCH of each, and the numbers of the calls whose arguments are looked at. */
export const ARCHITECTURES: Record<
  Architecture,
  {
    audit: number
    clone: number
    clone3: number
    socket: number
    socketpair: number
    ioctl: number
    personality: number
  }
> = {
  x64: { audit: 0xc000003e, clone: 56, clone3: 435, socket: 41, socketpair: 53, ioctl: 16, personality: 135 },
  arm64: { audit: 0xc00000b7, clone: 220, clone3: 435, socket: 198, socketpair: 199, ioctl: 29, personality: 92 },
}

import { chmod, copyFile, cp, lstat, mkdir, readdir, readlink, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { GUEST_FILE } from "../guest-process.ts"
import { INNER_UID, readableNode } from "../inside.ts"
import { seccompFilter } from "./seccomp.ts"

/** What every sandbox of this server shares and sees read-only; made anew at each start in `<data>/sandbox`. */
export interface SandboxSystem {
  /** Becomes `/etc`. */
  etc: string
  /** Becomes `/usr/local`: a place for node, and the guest. */
  local: string
  node: string
  seccomp: string
  /** How the host's `/bin`, `/lib` … are shown: links, as they mostly are, or folders. */
  top: ({ name: string; link: string } | { name: string; folder: string })[]
}

const ETC = [
  "ssl/certs",
  "ssl/openssl.cnf",
  "ca-certificates.conf",
  "ca-certificates",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "alternatives",
  "localtime",
  "timezone",
  "mime.types",
  "protocols",
  "services",
  "os-release",
  "debian_version",
  "python3",
  "magic",
]

export async function buildSystem(folder: string): Promise<SandboxSystem> {
  const { arch } = process
  if (arch !== "x64" && arch !== "arm64") throw new Error(`no system call filter for ${arch}`)
  await rm(folder, { recursive: true, force: true })
  const etc = join(folder, "etc")
  const local = join(folder, "local")
  await mkdir(join(local, "bin"), { recursive: true })
  await mkdir(join(local, "lib"))
  for (const name of ETC) await copy(join("/etc", name), join(etc, name))
  const files: Record<string, string> = {
    passwd: `root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:${INNER_UID}:${INNER_UID}:agent:/work:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
    group: `root:x:0:\nagent:x:${INNER_UID}:\nnogroup:x:65534:\n`,
    hosts: "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "resolv.conf": "",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(etc, name), text)
  await copyFile(GUEST_FILE, join(local, "lib", "guest.mjs"))
  await writeFile(join(local, "bin", "node"), "")
  const seccomp = join(folder, "seccomp.bpf")
  await writeFile(seccomp, seccompFilter(arch))
  await makeReadable(folder)
  return { etc, local, seccomp, node: await readableNode(folder), top: await topFolders() }
}

async function copy(from: string, to: string): Promise<void> {
  const there = await stat(from).catch(() => null)
  // Links stay links, as in `/etc/ssl/certs`: what they lead to in `/usr` is there inside too.
  if (there !== null)
    await cp(from, to, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.startsWith("/etc/ssl/private"),
    })
}

/** Whatever the server's umask is. */
async function makeReadable(path: string): Promise<void> {
  await chmod(path, 0o755)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) await makeReadable(inner)
    else if (entry.isFile()) await chmod(inner, inner.endsWith("/bin/node") ? 0o755 : 0o644)
  }
}

async function topFolders(): Promise<SandboxSystem["top"]> {
  const top: SandboxSystem["top"] = []
  for (const name of ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    const found = await lstat(name).catch(() => null)
    if (found?.isSymbolicLink()) top.push({ name, link: await readlink(name) })
    else if (found?.isDirectory()) top.push({ name, folder: name })
  }
  return top
}
